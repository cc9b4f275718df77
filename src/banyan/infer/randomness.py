"""Random numbers that depend on a seed and a position, and on nothing else.

A draw never depends on which other requests ran before or beside it, so an answer can be repeated from what was stored
with it: the same seed gives the same number at the same place, alone, batched, or continued after an interruption.
"""

from __future__ import annotations

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15  # 2**64 divided by the golden ratio, made odd


def _mix(value: int) -> int:
    """Scramble 64 bits so that neighbouring inputs give unrelated outputs.

    Source: Steele, Lea and Flood 2014, SplitMix64.
    """
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def uniform(seed: int, position: int) -> float:
    """Return the random number that belongs to one place of one seed.

    Units: 0 <= u < 1, with all 53 bits of a double.
    """
    value = _mix((_mix(seed & _MASK) + (position + 1) * _GOLDEN) & _MASK)
    return (value >> 11) * 2.0**-53


def derive_seed(seed: int, choice: int) -> int:
    """Return the seed of one of several answers to the same request; the first keeps the request's own.

    Units: below 2**53, so that every JSON reader keeps it whole.
    """
    if choice == 0:
        return seed
    return _mix((_mix(seed & _MASK) ^ (choice * _GOLDEN)) & _MASK) >> 11
