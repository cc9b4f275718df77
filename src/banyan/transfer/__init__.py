"""Weights in and out: foreign formats, adapters, new vocabulary."""
