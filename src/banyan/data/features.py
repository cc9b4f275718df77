"""Batches that bring along what a frozen trunk makes of their tokens, so that no step has to compute it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

import torch
from torch import Tensor

from banyan.core.types import TokenSequence
from banyan.data.batch import Batch
from banyan.data.loader import MixtureLoader


class SequenceFeatures(Protocol):
    """Knows the hidden states of sequences at one depth of a frozen model."""

    @property
    def width(self) -> int:
        """Numbers at a position."""
        ...

    def of(self, sequence: TokenSequence) -> Tensor:
        """Return the hidden states of a sequence, shape (len, D), float32; zeros where nobody will look."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureBatch(Batch):
    """A batch with the hidden states of its positions at the depth where learning begins.

    Shapes: features (B, T, D), float32; all else as in `Batch`.
    """

    features: Tensor


class FeatureLoader:
    """Gives the batches of a mixture with the features of their tokens; its place is that of the mixture."""

    def __init__(self, mixture: MixtureLoader, features: SequenceFeatures) -> None:
        self._mixture = mixture
        self._features = features

    def next_batch(self, *, num_rows: int | None = None, seq_len: int | None = None) -> FeatureBatch:
        """Return the next rows as one batch; as many and as long as the mixture was made for, unless told otherwise."""
        rows = self._mixture.next_rows(num_rows=num_rows, seq_len=seq_len)
        batch = self._mixture.collate(rows, seq_len=seq_len)
        values = {field.name: getattr(batch, field.name) for field in fields(batch)}
        return FeatureBatch(**values, features=self._laid_out(rows, seq_len=batch.token_ids.shape[1]))

    def epochs(self) -> dict[str, float]:
        """Return how often each task's examples have been seen."""
        return self._mixture.epochs()

    def state(self) -> dict[str, Any]:
        """Return the place in the stream, ready for JSON."""
        return self._mixture.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue where `state` was taken.

        Raises: DataError if the data, the tasks or the seed are not those of the state.
        """
        self._mixture.restore(state)

    def _laid_out(self, rows: Sequence[Sequence[TokenSequence]], *, seq_len: int) -> Tensor:
        features_BTD = torch.zeros(len(rows), seq_len, self._features.width)
        for row, sequences in enumerate(rows):
            start = 0
            for sequence in sequences:
                end = start + len(sequence)
                features_BTD[row, start:end] = self._features.of(sequence)
                start = end
        return features_BTD
