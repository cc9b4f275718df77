"""Tensors by name that are read one at a time, wherever they lie."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from banyan.core.errors import CheckpointError

# The number formats weights may have, in the words of safetensors.
FLOATS: Mapping[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "BF16": torch.bfloat16,
    "F16": torch.float16,
}
_NAME_OF = {dtype: name for name, dtype in FLOATS.items()}


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorInfo:
    """What is known of a tensor before it is read."""

    shape: tuple[int, ...]
    dtype: str  # in the words of safetensors: F32, BF16, I64 …

    @classmethod
    def of(cls, tensor: Tensor) -> TensorInfo:
        """Describe a tensor of weights that is in memory already."""
        return cls(shape=tuple(tensor.shape), dtype=_NAME_OF[tensor.dtype])

    @property
    def num_values(self) -> int:
        """Numbers in it."""
        return prod(self.shape)

    @property
    def num_bytes(self) -> int:
        """Memory it takes as it is; weights only."""
        return self.num_values * FLOATS[self.dtype].itemsize


class TensorSource(Mapping[str, Tensor]):
    """Tensors by name; only the one that is asked for is in memory."""

    @abstractmethod
    def place(self, name: str) -> str:
        """Return the file that holds a tensor, for messages."""

    @abstractmethod
    def info(self, name: str) -> TensorInfo:
        """Return shape and number format of a tensor without reading it."""

    def check(self, name: str, *, shape: tuple[int, ...]) -> None:
        """Make sure that a tensor is what the config asks for.

        Raises: CheckpointError if it has another shape, or holds anything but floating-point numbers.
        """
        found = self.info(name)
        if found.shape != shape:
            raise CheckpointError(
                f"{self.place(name)}: tensor {name} has shape {found.shape}, but the config asks for {shape}."
            )
        if found.dtype not in FLOATS:
            raise CheckpointError(
                f"{self.place(name)}: tensor {name} holds {found.dtype}, but weights are floating point "
                f"({', '.join(FLOATS)})."
            )

    def read(self, name: str, *, shape: tuple[int, ...]) -> Tensor:
        """Return one tensor of weights.

        Raises: CheckpointError if it is not what the config asks for.
        """
        self.check(name, shape=shape)
        return self[name]


def check_names(found: TensorSource, expected: set[str], *, place: str) -> None:
    """Make sure that a source holds exactly the expected tensors.

    Raises: CheckpointError naming the first that is missing, or the first that nobody knows.
    """
    if missing := sorted(expected - found.keys()):
        raise CheckpointError(f"{place} lacks tensor {missing[0]}{_and_more(missing)}, which the config asks for.")
    if unknown := sorted(found.keys() - expected):
        raise CheckpointError(f"{place} holds tensor {unknown[0]}{_and_more(unknown)}, which the config does not know.")


def _and_more(names: list[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""
