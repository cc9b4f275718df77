"""Reading tensors from safetensors files, with one-line errors for every way they can be wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from banyan.core.errors import CheckpointError, FileError
from banyan.core.files import read_json
from banyan.core.model_directory import WEIGHTS_FILE
from banyan.model.tensor_source import TensorInfo, TensorSource, check_names

INDEX_FILE = f"{WEIGHTS_FILE}.index.json"  # which shard holds which tensor, where the weights are in several files
_MAX_INDEX_BYTES = 64 << 20
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


class TensorFile(TensorSource):
    """The tensors of one safetensors file.

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
            check_names(self, set(expected), place=str(path))

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._names:
            raise KeyError(name)
        tensor: Tensor = self._file.get_tensor(name)
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._names))

    def __len__(self) -> int:
        return len(self._names)

    def place(self, name: str) -> str:
        """Return the path of the file."""
        return str(self.path)

    def info(self, name: str) -> TensorInfo:
        """Return shape and number format of a tensor from the file's header."""
        found = self._file.get_slice(name)
        return TensorInfo(shape=tuple(found.get_shape()), dtype=str(found.get_dtype()))


class TensorShards(TensorSource):
    """The tensors of several safetensors files, by the index that lies beside them.

    Raises: CheckpointError if the index cannot be used, or a shard is not whole or holds other tensors than it says.
    """

    def __init__(self, index: Path, *, expected: Set[str] | None = None) -> None:
        self.path = index
        self._file_of = _read_index(index)
        names = {file: {name for name, place in self._file_of.items() if place == file} for file in self.files}
        self._shards = {file: TensorFile(index.parent / file) for file in self.files}
        for file, shard in self._shards.items():
            check_names(shard, names[file], place=f"{shard.path} does not fit {index.name}: it")
        if expected is not None:
            check_names(self, set(expected), place=str(index))

    @property
    def files(self) -> list[str]:
        """Names of the shards."""
        return sorted(set(self._file_of.values()))

    def __getitem__(self, name: str) -> Tensor:
        return self._shards[self._file_of[name]][name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._file_of))

    def __len__(self) -> int:
        return len(self._file_of)

    def place(self, name: str) -> str:
        """Return the path of the shard."""
        return str(self.path.parent / self._file_of[name])

    def info(self, name: str) -> TensorInfo:
        """Return shape and number format of a tensor from its shard's header."""
        return self._shards[self._file_of[name]].info(name)


def open_tensors(directory: Path, file: str, *, expected: Set[str] | None = None) -> TensorSource:
    """Open the tensors that a directory keeps under a name: one file, or the shards of its index.

    Raises: CheckpointError as `TensorFile` and `TensorShards` do.
    """
    index = directory / f"{file}.index.json"
    if index.is_file() and not (directory / file).is_file():
        return TensorShards(index, expected=expected)
    return TensorFile(directory / file, expected=expected)


def _read_index(path: Path) -> Mapping[str, str]:
    """Return the file of each tensor; a file outside the index's own folder is refused."""
    try:
        index = read_json(path, max_bytes=_MAX_INDEX_BYTES)
    except FileError as error:
        raise CheckpointError(error.message) from error
    file_of = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(file_of, dict) or not file_of or not all(isinstance(file, str) for file in file_of.values()):
        raise CheckpointError(f"{path} is not an index of shards: weight_map must name the file of each tensor.")
    for file in file_of.values():
        if Path(file).name != file or "\\" in file or file in ("", "..") or not file.endswith(".safetensors"):
            raise CheckpointError(
                f"{path} names the shard {file!r}; a shard is a .safetensors file in the same folder."
            )
    return file_of


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
