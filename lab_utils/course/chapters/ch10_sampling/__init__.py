"""Notebook 10: generating text."""
