"""Answering prompts: sampling, constraints, and the engine that batches them."""
