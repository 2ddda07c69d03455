"""The training step and the decoding step as compiled graphs: where that can be, and what runs them."""
