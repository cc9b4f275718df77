"""Every request and answer in a database."""
