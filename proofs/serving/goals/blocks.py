"""Trials that are blocks of numbered attempts, so that a long proof can grow over several days."""

from __future__ import annotations


def blocks(what: str, *, total: int, size: int) -> tuple[str, ...]:
    """Return the names of blocks that hold all attempts: "prompts 1-100", "prompts 101-200", …"""
    return tuple(f"{what} {first}-{min(first + size - 1, total)}" for first in range(1, total + 1, size))


def numbers_of(trial: str) -> range:
    """Return the numbers of the attempts in a block."""
    first, _, last = trial.rpartition(" ")[2].partition("-")
    return range(int(first), int(last) + 1)
