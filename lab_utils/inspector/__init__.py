"""Any module held against what must be true of it: `inspect_model`, its probes, and `capture`."""
