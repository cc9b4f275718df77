"""Reading the pieces that several ranks have written into a model that is not divided."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from banyan.core.errors import CheckpointError
from banyan.model.transformer import Transformer
from banyan.train.distributed.shards import MODEL, OPTIMIZER, read_shards
from banyan.train.distributed.stacked import join_parts, split_parts
from banyan.train.division import OptimizerMemory


def join_shards(directory: Path, *, model: nn.Module, optimizer: OptimizerMemory) -> None:
    """Give an undivided model and its optimizer what lies in a folder of pieces.

    Raises: CheckpointError if it cannot be read, or holds another model.
    """
    if not isinstance(model, Transformer):
        raise CheckpointError(f"{directory} holds the pieces of a Transformer, not of a {type(model).__name__}.")
    parts = split_parts({name: parameter.detach() for name, parameter in model.named_parameters()}, model.config)
    memory: dict[str, Tensor] = {}

    def target(name: str, size: torch.Size, dtype: torch.dtype) -> Tensor | None:
        kind, _, path = name.partition("/")
        if kind == OPTIMIZER:
            memory[path] = torch.empty(size, dtype=dtype)
            return memory[path]
        if kind != MODEL or path not in parts or parts[path].shape != size:
            raise CheckpointError(f"{directory} holds {name} {tuple(size)}, which is no weight of this model.")
        return parts[path]

    read_shards(directory, target=target)
    optimizer.load_tensors(join_parts({path: as_remembered(path, value, parts) for path, value in memory.items()}))
    optimizer.after_loading()


def as_remembered(path: str, value: Tensor, parameters: dict[str, Tensor]) -> Tensor:
    """Return what an optimizer remembers of a weight as it remembers it: a single number has no dims there."""
    parameter = parameters.get(path.rpartition("/")[0])
    is_number = value.shape == (1,) and parameter is not None and parameter.shape != (1,)
    return value.reshape(()) if is_number else value
