"""What a run watches for while it learns, by family of signals, and what it does about it."""
