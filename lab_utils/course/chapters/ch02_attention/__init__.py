"""Notebook 02: attention, heads, rotary positions, RMSNorm."""
