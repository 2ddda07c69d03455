"""What a person touches in Jupyter: checks, pictures, live panels and the benchmark, all built on nanokimi."""

import nanokimi  # noqa: F401  before any import that could be a stranger's
