"""Answers of a given form: a schema, or a few choices, becomes a grammar, and that the tokens that may come next."""
