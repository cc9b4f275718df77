"""How each kind of task answers when neither the request nor the model says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from banyan.infer.sampling import GREEDY, SamplingConfig

# A right answer is best taken from the top; what has many right answers (prose, pictures) is drawn.
_DRAWN_KINDS = {
    "language_modeling": SamplingConfig(temperature=0.8, top_p=0.95),
    "image_generation": SamplingConfig(temperature=1.0),
}


def default_sampling(kind: str) -> SamplingConfig:
    """Return the sampling of a kind of task."""
    return _DRAWN_KINDS.get(kind, GREEDY)


def override(
    sampling: SamplingConfig,
    *,
    max_tokens: int | None = None,
    temperature: float | None = None,
    seed: int | None = None,
) -> SamplingConfig:
    """Return the sampling with the fields that were given, and its own where they were not."""
    given = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return replace(sampling, **changes)
