"""Looking inside models: captured inputs and outputs, and probes for what must hold for every sound model."""
