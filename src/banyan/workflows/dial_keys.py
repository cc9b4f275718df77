"""The two keys of the dial as a person writes them: a size such as 3M, a budget such as 30min or 1e15flops."""

from __future__ import annotations

import re
from dataclasses import dataclass

from banyan.core.errors import ConfigError
from banyan.model.presets import MODEL_PRESETS

_NUMBER = r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?)"
_MULTIPLES = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9}
_SECONDS = {"s": 1.0, "sec": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """What a run may cost: time, or arithmetic."""

    seconds: float | None = None
    flops: float | None = None


def parse_budget(text: str) -> Budget:
    """Return the budget that a text names.

    Raises: ConfigError for anything but a positive number with a unit.
    """
    match = re.fullmatch(rf"{_NUMBER}\s*([a-z]+)", text.strip().lower())
    amount = float(match[1]) if match else 0.0
    if match and amount > 0 and match[2] in _SECONDS:
        return Budget(seconds=amount * _SECONDS[match[2]])
    if match and amount > 0 and match[2] in ("flop", "flops"):
        return Budget(flops=amount)
    raise ConfigError(
        f"train.budget={text!r} is no budget: a number above 0 with one of {', '.join(_SECONDS)} or flops.",
        hint="for example train.budget=30min, train.budget=2h or train.budget=1e15flops",
    )


def parse_size(text: str) -> float | str:
    """Return a number of weights outside the embeddings, or the name of a preset.

    Raises: ConfigError for anything else.
    """
    if text in MODEL_PRESETS:
        return text
    match = re.fullmatch(rf"{_NUMBER}\s*([kmb]?)", text.strip().lower())
    if match and (size := float(match[1]) * _MULTIPLES[match[2]]) >= 1e4:
        return size
    raise ConfigError(
        f"model.size={text!r} is no size: a number of weights from 10k on, or a preset.",
        hint=f"for example model.size=3M, or one of {', '.join(name for name in MODEL_PRESETS)}",
    )
