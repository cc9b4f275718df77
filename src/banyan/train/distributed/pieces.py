"""A divided model and its optimizer as the whole state that a checkpoint holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from banyan.model.transformer import Transformer
from banyan.train.distributed.divided import DividedModel
from banyan.train.distributed.divided_optimizer import DividedOptimizer
from banyan.train.division import WholeState


class HeldMemory:
    """What an optimizer remembers, apart from it."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = dict(tensors)

    def tensors(self) -> dict[str, Tensor]:
        """Return all of it."""
        return self._tensors

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Hold other tensors."""
        self._tensors = {name: tensors[name] for name in tensors}

    def after_loading(self) -> None:
        """Leave the sorting out to whoever takes it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class InPieces:
    """Model and optimizer lie in pieces; rank 0 gathers them to write, and every rank reads all and keeps its own."""

    divided: DividedModel
    optimizer: DividedOptimizer

    def gather(self) -> WholeState:
        """Return the whole state in the main memory of rank 0."""
        return WholeState(model=self.divided.whole_model(), optimizer=HeldMemory(self.optimizer.whole_tensors()))

    def blank(self) -> WholeState:
        """Return an undivided model for a checkpoint to be read into."""
        with torch.device("cpu"):
            model = Transformer(self.divided.model.config, self.divided.model.head_specs)
        return WholeState(model=model, optimizer=HeldMemory({}))

    def take(self, state: WholeState) -> None:
        """Keep this rank's pieces of a whole state."""
        self.divided.load_whole(state.model.state_dict())
        self.optimizer.load_whole(state.optimizer.tensors())
        self.optimizer.after_loading()
