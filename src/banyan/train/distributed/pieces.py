"""A divided model and its optimizer as the whole state that a checkpoint holds."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from banyan.core.errors import CheckpointError
from banyan.model.transformer import Transformer
from banyan.train.distributed.divided import DividedModel, local
from banyan.train.distributed.divided_optimizer import DividedOptimizer
from banyan.train.distributed.joining import as_remembered
from banyan.train.distributed.shards import MODEL, OPTIMIZER, read_shards, write_shards
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


class InPieces:
    """Model and optimizer lie in pieces.

    Rank 0 gathers them to write, and every rank reads all and keeps its own; or, for large models, each rank writes and
    reads its pieces, and rank 0 gathers only the weights, so that every checkpoint is a model directory.
    """

    def __init__(self, divided: DividedModel, optimizer: DividedOptimizer, *, writes_shards: bool) -> None:
        self.divided = divided
        self.optimizer = optimizer
        self._group = dist.new_group(backend="gloo") if writes_shards else None  # a save goes on beside the steps
        self._writing: Future[None] | None = None

    def gather(self) -> WholeState:
        """Return the whole state in the main memory of rank 0; of the weights alone, if pieces are written."""
        memory = {} if self._group is not None else self.optimizer.whole_tensors()
        return WholeState(model=self.divided.whole_model(), optimizer=HeldMemory(memory))

    def begin_shards(self, directory: Path) -> Future[None] | None:
        """Begin to write this rank's pieces, from copies taken now."""
        if self._group is None:
            return None
        if self._writing is not None:
            self._writing.exception()  # one at a time; rank 0 tells what became of it
        weights = {f"{MODEL}/{name}": weight for name, weight in self.divided.parameters.items()}
        memory = {f"{OPTIMIZER}/{path}": value for path, value in self.optimizer.pieces().items()}
        self._writing = write_shards({**weights, **memory}, directory, group=self._group)
        return self._writing

    def read_shards(self, directory: Path) -> None:
        """Read this rank's pieces, however many ranks wrote the folder.

        Raises: CheckpointError if it cannot be read, or holds another model.
        """
        weights: dict[str, Tensor] = dict(self.divided.parameters)
        memory: dict[str, Tensor] = {}

        def target(name: str, size: torch.Size, dtype: torch.dtype) -> Tensor | None:
            kind, _, path = name.partition("/")
            if kind == OPTIMIZER:
                wanted = self.optimizer.empty_piece(path, size, dtype)
                if wanted is not None:
                    memory[path] = wanted
                return wanted
            if kind != MODEL or path not in weights or weights[path].shape != size:
                raise CheckpointError(f"{directory} holds {name} {tuple(size)}, which is no weight of this model.")
            return weights[path].detach()

        read_shards(directory, target=target)
        self.optimizer.load_tensors({p: local(as_remembered(p, value, weights)) for p, value in memory.items()})
        self.optimizer.take_weights()
        self.optimizer.after_loading()

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
