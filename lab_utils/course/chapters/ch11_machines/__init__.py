"""Notebook 11: many machines. Its exercises, mistakes and drawings, and what its four processes do."""
