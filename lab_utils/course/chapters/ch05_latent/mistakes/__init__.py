"""Known wrong answers to the exercises of notebook 05: each runs, and trains without complaint."""
