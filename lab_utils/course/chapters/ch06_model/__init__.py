"""Notebook 06: the full model."""
