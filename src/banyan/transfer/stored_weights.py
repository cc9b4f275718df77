"""The tensors of a model directory under the names other tools know, read one at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from banyan.core.errors import CheckpointError
from banyan.core.model_directory import WEIGHTS_FILE
from banyan.core.types import HeadSpec
from banyan.model.config import ModelConfig
from banyan.model.hugging_face_config import stock_architecture
from banyan.model.on_disk_names import disk_layout
from banyan.model.tensor_file import TensorFile
from banyan.model.transformer import Transformer


class StoredWeights(Mapping[str, Tensor]):
    """What lies in model.safetensors: the words' part of a model, without pictures and heads.

    Each tensor is read when it is asked for, so that a model larger than the memory can be passed on.
    Raises: CheckpointError if the file cannot be read, or holds other tensors than the config says.
    """

    def __init__(self, directory: Path, *, config: ModelConfig, heads: Sequence[HeadSpec]) -> None:
        path = directory / WEIGHTS_FILE
        num_tensors = len(TensorFile(path))
        if config.num_layers > num_tensors:  # laying out an endless model would fill the memory
            raise CheckpointError(
                f"{path} holds {num_tensors} tensors, and the config asks for num_layers={config.num_layers}."
            )
        self._shapes = _shapes_on_disk(config, heads)
        self._file = TensorFile(path, expected=self._shapes.keys())

    def __getitem__(self, name: str) -> Tensor:
        return self._file.read(name, shape=self._shapes[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)


def _shapes_on_disk(config: ModelConfig, heads: Sequence[HeadSpec]) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        model = Transformer(config, heads)
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    layout = disk_layout(shapes, config=config, heads=heads, architecture=stock_architecture(config))
    parts = [part for group in layout.values() for part in group]
    return {part.name: part.shape for part in parts if part.file == WEIGHTS_FILE}
