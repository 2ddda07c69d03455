"""What the answers to the exercises of notebook 07 are tried on, and how they are looked at."""
