"""The steps between a model's logits and one drawn token, each a small object; `SAMPLERS` lists them in order."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

from banyan.core.registry import Registry
from banyan.infer.sampling import SamplingConfig

_OUT = -math.inf


class Sampler(Protocol):
    """One step of the way: takes logits (N, V) and returns logits (N, V), minus infinity where a token drops out."""

    def __call__(self, logits_NV: Tensor) -> Tensor:
        """Return the logits after this step."""
        ...


@dataclass(frozen=True, slots=True)
class Temperature:
    """Sharpen (below 1) or flatten (above 1) the distribution."""

    value: float

    def __call__(self, logits_NV: Tensor) -> Tensor:
        """Return the logits after this step."""
        # From the best logit down, so that the smallest temperature cannot overflow.
        return (logits_NV - logits_NV.amax(dim=-1, keepdim=True)) / self.value


@dataclass(frozen=True, slots=True)
class TopK:
    """Keep the k most probable tokens, and those exactly as probable as the last of them."""

    k: int

    def __call__(self, logits_NV: Tensor) -> Tensor:
        """Return the logits after this step."""
        k = min(self.k, logits_NV.shape[-1])
        smallest = logits_NV.topk(k, dim=-1).values[:, -1:]
        return logits_NV.masked_fill(logits_NV < smallest, _OUT)


@dataclass(frozen=True, slots=True)
class TopP:
    """Keep the fewest most probable tokens that together hold at least the probability p.

    Source: Holtzman et al. 2020, nucleus sampling.
    """

    p: float

    def __call__(self, logits_NV: Tensor) -> Tensor:
        """Return the logits after this step."""
        sorted_logits, order = logits_NV.sort(dim=-1, descending=True, stable=True)
        probs = sorted_logits.softmax(dim=-1)
        before = probs.cumsum(dim=-1) - probs
        is_out = torch.zeros_like(before, dtype=torch.bool).scatter(-1, order, before >= self.p)
        return logits_NV.masked_fill(is_out, _OUT)


@dataclass(frozen=True, slots=True)
class MinP:
    """Keep the tokens that are at least p times as probable as the most probable one.

    Source: Nguyen et al. 2024, min-p sampling.
    """

    p: float

    def __call__(self, logits_NV: Tensor) -> Tensor:
        """Return the logits after this step."""
        smallest = logits_NV.amax(dim=-1, keepdim=True) + math.log(self.p)
        return logits_NV.masked_fill(logits_NV < smallest, _OUT)


SamplerFactory: TypeAlias = Callable[[SamplingConfig], Sampler | None]

SAMPLERS: Registry[SamplerFactory] = Registry("sampler")
SAMPLERS.add("temperature", lambda c: Temperature(c.temperature) if c.temperature not in (0, 1) else None)
SAMPLERS.add("top_k", lambda c: TopK(c.top_k) if c.top_k else None)
SAMPLERS.add("top_p", lambda c: TopP(c.top_p) if c.top_p < 1 else None)
SAMPLERS.add("min_p", lambda c: MinP(c.min_p) if c.min_p > 0 else None)


def build_samplers(config: SamplingConfig) -> tuple[Sampler, ...]:
    """Return the steps a request asks for, in the order of `SAMPLERS`; none for a greedy one."""
    if config.is_greedy:
        return ()
    steps = (factory(config) for factory in SAMPLERS.values())
    return tuple(step for step in steps if step is not None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Draw:
    """What one row of logits is drawn with."""

    samplers: tuple[Sampler, ...]
    uniform: float | None  # 0 <= u < 1; None: take the most probable token


def draw_tokens(logits_NV: Tensor, draws: Sequence[Draw]) -> list[int]:
    """Choose one token for every row; each row's choice depends on that row alone.

    Shapes: logits (N, V), one `Draw` per row; minus infinity marks tokens that may not come out.
    """
    chosen: list[int] = logits_NV.argmax(dim=-1).tolist()
    groups: dict[tuple[Sampler, ...], list[int]] = defaultdict(list)
    for row, draw in enumerate(draws):
        if draw.uniform is not None:
            groups[draw.samplers].append(row)
    for samplers, rows in groups.items():
        uniforms = [draw.uniform or 0.0 for draw in (draws[row] for row in rows)]
        for row, token in zip(rows, _draw_group(logits_NV[rows], samplers, uniforms), strict=True):
            chosen[row] = token
    return chosen


def _draw_group(logits_NV: Tensor, samplers: Sequence[Sampler], uniforms: Sequence[float]) -> list[int]:
    # In double precision: the tail of a large vocabulary adds up to more than a float's rounding.
    logits_NV = logits_NV.double()
    for sampler in samplers:
        logits_NV = sampler(logits_NV)
    cumulative = logits_NV.softmax(dim=-1).cumsum(dim=-1)
    at = torch.tensor(uniforms, dtype=torch.float64, device=logits_NV.device)[:, None] * cumulative[:, -1:]
    drawn = torch.searchsorted(cumulative, at, right=True)[:, 0]
    # Rounding can put `at` on the very end; the last token with any probability is meant then.
    last = (cumulative < cumulative[:, -1:]).sum(dim=-1)
    return torch.minimum(drawn, last).tolist()
