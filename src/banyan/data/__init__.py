"""From files to batches: sources, cleaning, shards, packing, mixture, loader, catalog."""
