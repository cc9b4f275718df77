"""The colour of a word: blue where it spoke for an answer, red where it spoke against it, the paler the weaker."""

from __future__ import annotations

from typing import TypeAlias

Colour: TypeAlias = tuple[int, int, int]  # red, green, blue, 0 to 255

# Blue and red of one lightness, which people who cannot tell red from green can tell apart.
FOR: Colour = (86, 160, 255)
AGAINST: Colour = (255, 120, 96)
_WHITE: Colour = (255, 255, 255)
_FAINT = 0.05  # of the strongest word; what is weaker has no colour


def background(value: float, *, largest: float) -> Colour | None:
    """Return what a word stands on, or None where it hardly counted; `largest` is the value of the strongest one."""
    share = abs(value) / largest if largest else 0.0
    if share < _FAINT:
        return None
    full = FOR if value > 0 else AGAINST
    red, green, blue = (round(white + share * (own - white)) for white, own in zip(_WHITE, full, strict=True))
    return red, green, blue
