"""How a model and its optimizer look whole, whether they lie in one process or in pieces on several."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor, nn


class OptimizerMemory(Protocol):
    """What an optimizer remembers, by the names of the weights."""

    def tensors(self) -> Mapping[str, Tensor]:
        """Return all it remembers."""

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on with what `tensors` returned."""

    def after_loading(self) -> None:
        """Sort out what was loaded, once the model has its weights too."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WholeState:
    """A model that is not divided, and what its optimizer remembers."""

    model: nn.Module
    optimizer: OptimizerMemory


class Division(Protocol):
    """How a model lies on the ranks. All methods are collective."""

    def gather(self) -> WholeState:
        """Return the whole state for rank 0 to write; on other ranks it may be empty."""
        ...

    def blank(self) -> WholeState:
        """Return a whole state for a checkpoint to be read into, on every rank."""
        ...

    def take(self, state: WholeState) -> None:
        """Let model and optimizer go on from a whole state that was read."""
        ...

    def begin_shards(self, directory: Path) -> Future[None] | None:
        """Begin to write the pieces of all ranks into a folder, from copies taken now; None: they are to be gathered.

        On rank 0 the future is done when all ranks have written theirs.
        """
        ...

    def read_shards(self, directory: Path) -> None:
        """Let model and optimizer go on from a folder of pieces, however many ranks wrote it.

        Raises: CheckpointError if it cannot be read, or holds another model.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Undivided:
    """Every rank holds everything: the whole state is the model and the optimizer themselves."""

    state: WholeState

    def gather(self) -> WholeState:
        """Return model and optimizer."""
        return self.state

    def blank(self) -> WholeState:
        """Return model and optimizer, to be written over."""
        return self.state

    def take(self, state: WholeState) -> None:
        """Do nothing: what was read lies where it belongs."""

    def begin_shards(self, directory: Path) -> Future[None] | None:
        """Write no pieces, for there are none."""
        return None

    def read_shards(self, directory: Path) -> None:
        """Put the pieces together.

        Raises: CheckpointError if they cannot be read, or are those of another model.
        """
        # Only here, for PyTorch's distributed checkpoint takes a moment to import and few runs have pieces.
        from banyan.train.distributed.joining import join_shards

        join_shards(directory, model=self.state.model, optimizer=self.state.optimizer)
