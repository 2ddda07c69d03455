"""Faults, made on purpose and counted: what is done to the program, how often, and what survived."""
