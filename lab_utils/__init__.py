"""What a person touches in Jupyter: checks, pictures, live panels and the benchmark, all built on nanokimi."""
