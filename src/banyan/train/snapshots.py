"""Copies of the weights in memory, to go back to when a run diverges."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from banyan.train.state import Progress

NUM_SNAPSHOTS = 3
MARGIN = 20  # steps: weights this shortly before the first sign of trouble are not trusted


class TensorHolder(Protocol):
    """Something whose memory goes back together with the weights: an optimizer, an average of weights."""

    def tensors(self) -> Mapping[str, Tensor]:
        """Return all it remembers, by name."""

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on with what `tensors` returned."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """One moment of a run."""

    progress: Progress
    statistics: Mapping[str, Any]  # what was usual then
    weights: Mapping[str, Tensor]
    held: Sequence[Mapping[str, Tensor]]  # by holder


class SnapshotRing:
    """Keeps the last few snapshots of a run, as many as the memory allows; none, where one is too large."""

    def __init__(self, model: nn.Module, *, holders: Sequence[TensorHolder], max_bytes: int) -> None:
        self._model = model
        self._holders = holders
        self._max_bytes = max_bytes
        self._ring: list[Snapshot] = []

    @property
    def steps(self) -> list[int]:
        """The steps one can go back to, the oldest first."""
        return [snapshot.progress.step for snapshot in self._ring]

    def take(self, progress: Progress, *, statistics: Mapping[str, Any]) -> None:
        """Copy everything as it is now."""
        num_fitting = min(NUM_SNAPSHOTS, self._max_bytes // max(1, self._num_bytes()))
        if num_fitting == 0:
            return
        del self._ring[: max(0, len(self._ring) + 1 - num_fitting)]  # first, so that there is never one too many
        snapshot = Snapshot(
            progress=copy.deepcopy(progress),
            statistics=copy.deepcopy(statistics),
            weights={name: value.detach().clone() for name, value in self._model.state_dict().items()},
            held=[{name: value.clone() for name, value in holder.tensors().items()} for holder in self._holders],
        )
        self._ring.append(snapshot)

    def rewind(self, *, sound_until: int) -> Snapshot | None:
        """Give model and holders what they had well before the first sign of trouble; later snapshots are dropped.

        Returns the snapshot, or None if there is none at all. The oldest one will do if none is old enough.
        """
        if not self._ring:
            return None
        sound = [snapshot for snapshot in self._ring if snapshot.progress.step <= sound_until - MARGIN]
        chosen = sound[-1] if sound else self._ring[0]
        self._ring = [snapshot for snapshot in self._ring if snapshot.progress.step <= chosen.progress.step]
        with torch.no_grad():
            for name, value in self._model.state_dict().items():
                value.copy_(chosen.weights[name])
        for holder, tensors in zip(self._holders, chosen.held, strict=True):
            # A memory that did not exist yet is one of zeros.
            fresh = {name: torch.zeros_like(value) for name, value in holder.tensors().items() if name not in tensors}
            holder.load_tensors({**fresh, **tensors})
        return chosen

    def _num_bytes(self) -> int:
        held = [value for holder in self._holders for value in holder.tensors().values()]
        weights = list(self._model.state_dict().values())
        # Before the first step an optimizer remembers nothing; later about twice the weights.
        return max(3 * _bytes_of(weights), _bytes_of([*weights, *held]))


def _bytes_of(tensors: Sequence[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
