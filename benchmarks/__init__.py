"""What the repository measures about itself; results/ keeps what was measured, one JSON per machine."""
