"""A model in a foreign format, opened and checked but not yet read; and what a format must be able to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from banyan.core.errors import CheckpointError
from banyan.model.checkpoint import empty_model, stored_shapes
from banyan.model.config import ModelConfig
from banyan.model.tensor_source import TensorInfo, TensorSource, check_names
from banyan.transfer.foreign_config import ForeignConfig


@dataclass(frozen=True, kw_only=True)
class ForeignModel:
    """What an import needs to know of a foreign model; `tensors` has the names and shapes that we keep on disk."""

    format: str
    config: ForeignConfig
    tensors: TensorSource
    tokenizer: Path  # the folder or file that the tokenizer is read from
    left_out: tuple[str, ...] = ()  # tensors of the source that are no weights, or are there twice
    generation: Mapping[str, Any] | None = None  # content of generation_config.json; None: there is none

    @property
    def num_weights(self) -> int:
        """Numbers in all tensors together."""
        return sum(self.tensors.info(name).num_values for name in self.tensors)

    @property
    def num_bytes(self) -> int:
        """Their size on disk."""
        return sum(self.tensors.info(name).num_bytes for name in self.tensors)

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The number formats that occur, the most used first."""
        counts: dict[str, int] = {}
        for name in self.tensors:
            info = self.tensors.info(name)
            counts[info.dtype] = counts.get(info.dtype, 0) + info.num_values
        return tuple(sorted(counts, key=lambda dtype: -counts[dtype]))


class WeightFormat(Protocol):
    """One foreign way of keeping a model's weights."""

    does: str  # what it is, for a person

    def recognises(self, source: Path) -> bool:
        """Say whether a file or folder looks like this format."""

    def open(self, source: Path) -> ForeignModel:
        """Open a model and check names, shapes and sizes of everything in it.

        Raises: CheckpointError in one line for whatever is wrong with it; MissingExtraError if a package is missing.
        """


class Renamed(TensorSource):
    """Tensors of another source under our names."""

    def __init__(self, tensors: TensorSource, names: Mapping[str, str]) -> None:
        self._tensors = tensors
        self._names = names  # ours → theirs

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[self._names[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._names))

    def __len__(self) -> int:
        return len(self._names)

    def place(self, name: str) -> str:
        """Return the file of the other source."""
        return self._tensors.place(self._names[name])

    def info(self, name: str) -> TensorInfo:
        """Return shape and number format as the other source knows them."""
        return self._tensors.info(self._names[name])


def expected_shapes(config: ModelConfig, *, num_tensors: int, place: str) -> dict[str, tuple[int, ...]]:
    """Return the tensors that a model of this config has, by their Hugging Face names.

    Raises: CheckpointError if the config describes more than `num_tensors` tensors can hold.
    """
    return stored_shapes(empty_model(config, (), num_tensors=num_tensors, place=place))


def check_tensors(tensors: TensorSource, shapes: Mapping[str, tuple[int, ...]], *, place: str) -> None:
    """Make sure that exactly the expected tensors are there, each with its shape and of floating-point numbers.

    Raises: CheckpointError naming the first that is not.
    """
    check_names(tensors, set(shapes), place=place)
    for name, shape in shapes.items():
        tensors.check(name, shape=shape)


def check_no_link_leaves(folder: Path) -> None:
    """Make sure that no link in a folder leads out of it; those of a Hugging Face cache stay in the model's own entry.

    Raises: CheckpointError naming the first that does.
    """
    home = folder.resolve()
    if home.parent.name == "snapshots" and (home.parent.parent / "blobs").is_dir():
        home = home.parent.parent
    for path in sorted(folder.iterdir()):
        if path.is_symlink() and not path.resolve().is_relative_to(home):
            raise CheckpointError(f"{path} is a link that leaves the folder.", hint="copy the file to its place")
