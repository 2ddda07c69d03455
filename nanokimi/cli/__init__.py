"""The command line: `nanokimi prepare | train | generate | evaluate | bench | presets | export`."""
