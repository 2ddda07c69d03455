"""The notebooks as they are published: rendered, and as pages that need no network."""
