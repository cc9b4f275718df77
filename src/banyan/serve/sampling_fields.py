"""From the sampling fields of a request to what the model is told: the model's own way, with what was asked changed."""

from __future__ import annotations

import dataclasses
import secrets

from banyan.infer.randomness import derive_seed
from banyan.infer.sampling import SamplingConfig
from banyan.serve.schemas import SamplingFields

_FIELDS = (
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "guidance_scale",
    "guidance_power",
    "num_candidates",
    "num_beams",
    "length_penalty",
    "no_repeat_ngram",
    "min_tokens",
    "choices",
    "json_schema",
    "logit_bias",
    "num_alternatives",
    "prompt_lookup",
)


def seed_of(fields: SamplingFields) -> int:
    """Return the seed of a request, or a fresh one; it is stored, so the answer can be had again."""
    return secrets.randbelow(2**31) if fields.seed is None else fields.seed


def sampling_of(
    fields: SamplingFields,
    base: SamplingConfig,
    *,
    seed: int,
    choice: int = 0,
    max_tokens: int | None = None,
    stop: tuple[str, ...] = (),
) -> SamplingConfig:
    """Return how one choice is drawn; `base` says what the request leaves open."""
    asked = {name: getattr(fields, name, None) for name in _FIELDS}
    given = {name: value for name, value in asked.items() if value is not None}
    limit = base.max_tokens if max_tokens is None else max_tokens
    return dataclasses.replace(base, **given, seed=derive_seed(seed, choice), max_tokens=limit, stop=stop)
