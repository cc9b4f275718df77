"""One configurable decoder-only Transformer, its heads, its cache and its files on disk."""
