"""Two replicas on a local Ray cluster over one PostgreSQL, one of them killed in the middle."""
