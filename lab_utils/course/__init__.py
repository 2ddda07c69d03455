"""What the notebooks ask of a reader: exercises, checks, hints, predictions, progress and grades."""
