"""Reading tensors from a safetensors file, with one-line errors for every way it can be wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from banyan.core.errors import CheckpointError

_PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


class TensorFile(Mapping[str, Tensor]):
    """The tensors of one safetensors file by name, each read when it is asked for.

    Raises: CheckpointError if the file is missing, truncated, corrupt, of another format, or does not hold exactly
    the expected tensors (None: any will do).
    """

    def __init__(self, path: Path, *, expected: Set[str] | None = None) -> None:
        self.path = path
        _check_format(path)
        try:
            file: Any = safe_open(path, framework="pt")
            self._names = frozenset(file.keys())
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path} cannot be read ({error}): it is truncated or corrupt.") from error
        self._file = file
        if expected is not None:
            self._check_names(expected)

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._names:
            raise KeyError(name)
        tensor: Tensor = self._file.get_tensor(name)
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._names))

    def __len__(self) -> int:
        return len(self._names)

    def read(self, name: str, *, shape: tuple[int, ...]) -> Tensor:
        """Return one tensor of weights.

        Raises: CheckpointError if it has another shape than the config asks for.
        """
        found = tuple(self._file.get_slice(name).get_shape())
        if found != shape:
            raise CheckpointError(f"{self.path}: tensor {name} has shape {found}, but the config asks for {shape}.")
        tensor = self[name]
        if not tensor.is_floating_point():
            raise CheckpointError(f"{self.path}: tensor {name} holds {tensor.dtype}, but weights are floating point.")
        return tensor

    def _check_names(self, expected: Set[str]) -> None:
        if missing := sorted(expected - self._names):
            others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise CheckpointError(f"{self.path} lacks tensor {missing[0]}{others}, which the config asks for.")
        if unknown := sorted(self._names - expected):
            others = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
            raise CheckpointError(f"{self.path} holds tensor {unknown[0]}{others}, which the config does not know.")


def _check_format(path: Path) -> None:
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from error
    # A safetensors file begins with the length of its header, which may look like anything, and then the header.
    if start.startswith(_PICKLE_STARTS) and start[8:] != b"{":
        raise CheckpointError(
            f"{path} is a pickle file under another name; only safetensors is read, for a pickle can run any code.",
            hint="convert it to safetensors where you trust it",
        )
