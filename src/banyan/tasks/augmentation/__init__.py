"""Other wordings of an example that leave its answer right."""
