"""The processes that train one model together, as a step sees them; one process alone is the plain case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from torch import Tensor, nn

from banyan.data.batch import TrainableBatch

BatchT = TypeVar("BatchT", bound=TrainableBatch)


class Ranks(Protocol):
    """What a step and its loop need of the other processes. Every rank draws the same global batch."""

    @property
    def rank(self) -> int:
        """Number of this process, from 0."""
        ...

    @property
    def world_size(self) -> int:
        """Processes in all."""
        ...

    @property
    def is_main(self) -> bool:
        """Whether this process writes the run's files."""
        ...

    def own_rows(self, batch: BatchT) -> BatchT:
        """Return this rank's share of a micro-batch."""
        ...

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over all shares of a batch; the same on every rank."""
        ...

    def grad_norm(self, gradients: Sequence[Tensor]) -> Tensor:
        """Return the length of all gradients together, shards on other ranks included."""
        ...

    def any(self, flag: bool) -> bool:
        """Return whether the flag is up on any rank; all ranks must ask."""
        ...

    def barrier(self) -> None:
        """Wait for all ranks."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Alone:
    """One process that holds the whole model and the whole batch."""

    rank: int = 0
    world_size: int = 1
    is_main: bool = True

    def own_rows(self, batch: BatchT) -> BatchT:
        """Return the whole batch."""
        return batch

    def sum(self, values: Tensor) -> Tensor:
        """Return the values."""
        return values

    def grad_norm(self, gradients: Sequence[Tensor]) -> Tensor:
        """Return the length of all gradients together."""
        return nn.utils.get_total_norm(gradients)

    def any(self, flag: bool) -> bool:
        """Return the flag."""
        return flag

    def barrier(self) -> None:
        """Wait for nobody."""


ALONE = Alone()
