"""Notebook 04: top-k routing, load balance and dispatch."""
