"""Tiny configurations for tests."""
