"""What is asked of the operating system: whole files, time limits, and memory that is kept."""
