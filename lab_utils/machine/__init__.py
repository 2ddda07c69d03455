"""The machine that a notebook runs on: what it is, its memory, its front end, headless runs, profiles."""
