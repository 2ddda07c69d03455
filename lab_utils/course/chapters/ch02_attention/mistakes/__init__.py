"""Known wrong answers to the exercises of notebook 02: each runs, and trains without complaint."""
