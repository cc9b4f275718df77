"""What a run may do about itself, beyond leaving out one update."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, kw_only=True, slots=True)
class Rewind:
    """Go back to weights that were sound before a step, with a lower learning rate; the data goes on."""

    sound_until: int  # step
    rate_factor: float
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class LowerRate:
    """Multiply the learning rate from here on."""

    rate_factor: float
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ShrinkScores:
    """Make the attention scores of a layer smaller by changing the weights that they come from."""

    layer: str
    factor: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Stop:
    """End the run: nothing helps."""

    reason: str
    hint: str
    is_data: bool = False  # the data is at fault, not the training


Remedy: TypeAlias = Rewind | LowerRate | ShrinkScores | Stop
