"""Several candidates for one picture: draw them all, and keep the one that its wish explains best.

What ranks them is the model's own likelihood ratio, log p(picture | wish) - log p(picture), which comes for nothing
where both branches are read anyway. A net that measures pictures has no part in it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from banyan.core.types import Completion, ImageGrid, Prompt
from banyan.infer.randomness import derive_seed
from banyan.infer.sampling import SamplingConfig

_STREAM = 1 << 40  # of seeds: candidates share none with the several answers to one request


def candidates_of(prompt: Prompt, sampling: SamplingConfig) -> list[SamplingConfig]:
    """Return how each candidate of an answer is drawn; what is no picture has one."""
    if not isinstance(prompt.decoding, ImageGrid):
        return [sampling]
    others = (derive_seed(sampling.seed, _STREAM + number) for number in range(1, sampling.num_candidates))
    return [sampling, *(replace(sampling, seed=seed) for seed in others)]


def best_candidate(completions: Sequence[Completion]) -> Completion:
    """Return the completion with the highest likelihood ratio; of equal ones the first."""
    return max(
        completions, key=lambda completion: -math.inf if completion.wish_ratio is None else completion.wish_ratio
    )
