"""The training step as one compiled graph: where that can be, and what runs it."""
