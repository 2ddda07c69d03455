"""Notebook 01: text and tokens."""
