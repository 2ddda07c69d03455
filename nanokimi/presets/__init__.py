"""Settings as YAML: the files that come with the package, and how they and a user's own are read."""
