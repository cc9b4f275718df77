"""Pictures without a Transformer: every code drawn by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from banyan.core.types import Prediction
from banyan.tasks.image_generation import ImageGeneration, PictureExample


def unigram_codes(
    task: ImageGeneration, train: Sequence[PictureExample], *, seed: int
) -> Callable[[Sequence[PictureExample]], list[Prediction]]:
    """Draw every code from the shares of all codes in the training pictures, whatever was wished for."""
    counts = np.zeros(task.num_codes)
    for example in train:
        np.add.at(counts, list(example.codes or ()), 1)
    shares = (counts + 1) / (counts + 1).sum()
    size = task.grid_size * task.grid_size

    def answer(examples: Sequence[PictureExample]) -> list[Prediction]:
        drawn = np.random.default_rng(seed).choice(task.num_codes, size=(len(examples), size), p=shares)
        return [Prediction(task=task.name, text="", image_codes=tuple(codes)) for codes in drawn.tolist()]

    return answer
