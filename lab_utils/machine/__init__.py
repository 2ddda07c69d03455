"""The machine that a notebook runs on: its name, memory and front end, headless runs, profiles."""
