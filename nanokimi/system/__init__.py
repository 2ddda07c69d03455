"""What is asked of the operating system: whole files, one owner, time limits, memory, and text for terminals."""
