"""Whether models that know nothing would give the same map: then it does not show what was learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from banyan.infer.attribution import Attribution, Groups, Method
from banyan.infer.decisions import Decision
from banyan.infer.random_weights import with_random_weights
from banyan.model.transformer import Transformer
from banyan.workflows.rank_correlation import rank_correlation

NUM_RANDOM_MODELS = 5
_CHANCE = 1.96  # deviations that hold 95 % of what chance gives


@dataclass(frozen=True, kw_only=True, slots=True)
class Sanity:
    """How like a map is to those of the same model with random weights: one that shows what was learned is not."""

    strengths: tuple[float, ...]  # rank correlation of the values without their signs, for each random model
    signed: tuple[float, ...]  # with their signs
    num_same_strongest: int  # random models that find the same word the strongest
    chance: float  # 95 % of the correlations of two unrelated maps of so many words lie within ± this

    @property
    def mean(self) -> float:
        """The mean correlation of strengths."""
        return sum(self.strengths) / len(self.strengths)

    @property
    def is_above_chance(self) -> bool:
        """Is the map more like those of random models than chance explains?"""
        return self.mean > self.chance


def check_map(
    model: Transformer, decision: Decision, groups: Groups, found: Attribution, *, method: Method, blank_id: int
) -> Sanity:
    """Explain the same decision by models with random weights, and compare.

    Source: Adebayo et al. 2018, with rank correlation as they have it.
    """
    others = []
    for seed in range(NUM_RANDOM_MODELS):
        random = with_random_weights(model, generator=torch.Generator().manual_seed(seed))
        others.append(method(random, decision, groups, blank_id=blank_id).values)
    strength, strengths = _strengths(found.values), [_strengths(values) for values in others]
    return Sanity(
        strengths=tuple(rank_correlation(strength, other) for other in strengths),
        signed=tuple(rank_correlation(found.values, values) for values in others),
        num_same_strongest=sum(other.index(max(other)) == strength.index(max(strength)) for other in strengths),
        chance=min(1.0, _CHANCE * max(1, len(groups) - 1) ** -0.5),  # unrelated ranks deviate by 1/sqrt(n - 1)
    )


def _strengths(values: Sequence[float]) -> list[float]:
    return [abs(value) for value in values]
