"""How many of the picture codes a run's pictures still use."""

from __future__ import annotations

import math

import numpy as np

from banyan.data.batch import Batch
from banyan.train.health.signals import Finding
from banyan.train.health.statistics import Usual

FALL = 0.3  # of the usual variety
_STEPS = 4  # in a row
_ACTIVE_AFTER = 16  # steps with pictures
_USED_SHARE = 0.2  # of all codes, once there was room to show each of them …
_ROOM = 20  # … so many times


class CodeUse:
    """Finds pictures that have collapsed onto few codes: all at once, or from the beginning."""

    def __init__(self, *, first_image_id: int, num_codes: int) -> None:
        self._first = first_image_id
        self._num_codes = num_codes
        self._variety = Usual()
        self._num_low = 0
        self._used = np.zeros(num_codes, dtype=bool)
        self._num_seen = 0

    def look(self, batch: Batch) -> Finding | None:
        """Return the finding, once, when it is certain."""
        targets = batch.targets.numpy()
        codes = targets[targets >= self._first] - self._first
        if not self._num_codes or not len(codes):
            return None
        counts = np.bincount(codes, minlength=self._num_codes)
        return self._collapsed(_perplexity(counts)) or self._never_used(counts, len(codes))

    def _collapsed(self, variety: float) -> Finding | None:
        bound = FALL * self._variety.mean
        if self._variety.count < _ACTIVE_AFTER or variety >= bound:
            self._variety.add(variety)
            self._num_low = 0
            return None
        self._num_low += 1
        if self._num_low != _STEPS:
            return None
        return Finding(signal="codebook_collapse", value=variety, threshold=bound)

    def _never_used(self, counts: np.ndarray, num: int) -> Finding | None:
        had_room = self._num_seen >= _ROOM * self._num_codes
        self._used |= counts > 0
        self._num_seen += num
        if had_room or self._num_seen < _ROOM * self._num_codes:
            return None
        share = float(self._used.mean())
        return Finding(signal="codebook_collapse", value=share, threshold=_USED_SHARE) if share < _USED_SHARE else None


def _perplexity(counts: np.ndarray) -> float:
    """Return how many codes, used equally often, would be as varied."""
    shares = counts[counts > 0] / counts.sum()
    return math.exp(-float((shares * np.log(shares)).sum()))
