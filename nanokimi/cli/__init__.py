"""The command line: `nanokimi prepare | train | generate | bench | presets | export`."""
