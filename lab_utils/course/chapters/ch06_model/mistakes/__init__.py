"""Known wrong answers to the exercises of notebook 06: each runs, and trains without complaint."""
