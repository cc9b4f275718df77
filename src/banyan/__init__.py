"""Banyan: a GPT that you grow yourself."""

__version__ = "0.1.0"
