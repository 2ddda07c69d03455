"""Notebook 03: SwiGLU and the bank of experts."""
