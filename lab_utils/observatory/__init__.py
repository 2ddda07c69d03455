"""What a router did, for notebook 09: facts, lesions, paths, the collapse clinic, the cache meter."""
