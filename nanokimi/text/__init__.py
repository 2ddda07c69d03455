"""From text to token ids: sources, tokenizers, the cache on disk, batches and windows."""
