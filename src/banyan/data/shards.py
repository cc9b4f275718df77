"""Shards: token files that are read by memory map, know where each document starts, and notice damage.

    header (64 bytes) | token ids, 2 or 4 bytes each | document ends | CRC-32 of every 64 KiB of tokens

A shard holds the ordinary text ids of its documents and nothing between them; special tokens are put in when
documents are cut into training windows. Numbers are little-endian. A shard appears under its name only when complete.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias
from zlib import crc32

import numpy as np
import numpy.typing as npt

from banyan.core.errors import DataError, FileError
from banyan.core.files import as_write_error, fsync_directory

SHARD_SUFFIX = ".shard"
TokenArray: TypeAlias = "npt.NDArray[np.uint16] | npt.NDArray[np.uint32]"

_MAGIC = b"BANYANSH"
_VERSION = 1
_HEADER = struct.Struct("<8sIIQQQI16xI")  # magic, version, width, vocab_size, tokens, documents, index CRC, header CRC
_BLOCK_BYTES = 1 << 16


@dataclass(frozen=True, kw_only=True, slots=True)
class _Layout:
    """Sizes of one shard; every offset in the file follows from them."""

    width: int  # bytes per token id
    vocab_size: int  # all ids are below this
    num_tokens: int
    num_documents: int
    index_crc: int = 0

    @property
    def token_bytes(self) -> int:
        return self.width * self.num_tokens

    @property
    def num_blocks(self) -> int:
        return -(-self.token_bytes // _BLOCK_BYTES)

    @property
    def index_offset(self) -> int:
        return _HEADER.size + self.token_bytes

    @property
    def file_bytes(self) -> int:
        return self.index_offset + 8 * self.num_documents + 4 * self.num_blocks

    def to_bytes(self) -> bytes:
        fields = (self.width, self.vocab_size, self.num_tokens, self.num_documents, self.index_crc)
        unsigned = _HEADER.pack(_MAGIC, _VERSION, *fields, 0)[:-4]
        return unsigned + struct.pack("<I", crc32(unsigned))


class ShardWriter:
    """Writes documents into one shard; as a context manager, an error inside the block leaves no shard behind.

    Raises: SpaceError if the disk is full or the place cannot be written.
    """

    def __init__(self, path: Path, *, vocab_size: int) -> None:
        self.path = path
        self.num_tokens = 0
        self._vocab_size = vocab_size
        self._width = 2 if vocab_size <= 1 << 16 else 4
        self._ends: list[int] = []
        self._block_crcs: list[int] = []
        self._pending = bytearray()  # tokens of the block that is not full yet
        self._temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._temporary.open("wb")
            self._file.write(bytes(_HEADER.size))
        except OSError as error:
            raise as_write_error(error, path) from error

    @property
    def num_documents(self) -> int:
        """Documents written so far."""
        return len(self._ends)

    def add(self, token_ids: Sequence[int] | npt.NDArray[Any]) -> None:
        """Append one document.

        Raises: DataError if an id does not fit the vocabulary.
        """
        ids = np.asarray(token_ids, dtype=np.int64)
        if (outside := ids[(ids < 0) | (ids >= self._vocab_size)]).size:
            raise DataError(
                f"token id {outside[0]} does not fit in {self.path}: ids run from 0 to {self._vocab_size - 1}."
            )
        self.num_tokens += len(ids)
        self._ends.append(self.num_tokens)
        self._pending += ids.astype(f"<u{self._width}").tobytes()
        if len(self._pending) >= _BLOCK_BYTES:
            self._write_blocks(len(self._pending) // _BLOCK_BYTES * _BLOCK_BYTES)

    def close(self) -> None:
        """Finish the shard and let it appear under its name."""
        self._write_blocks(len(self._pending))
        index = np.array(self._ends, dtype="<u8").tobytes() + np.array(self._block_crcs, dtype="<u4").tobytes()
        layout = _Layout(
            width=self._width,
            vocab_size=self._vocab_size,
            num_tokens=self.num_tokens,
            num_documents=len(self._ends),
            index_crc=crc32(index),
        )
        try:
            self._finish(index, layout)
        except OSError as error:
            self.discard()
            raise as_write_error(error, self.path) from error

    def _finish(self, index: bytes, layout: _Layout) -> None:
        self._file.write(index)
        self._file.seek(0)
        self._file.write(layout.to_bytes())
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._temporary.replace(self.path)
        fsync_directory(self.path.parent)

    def discard(self) -> None:
        """Forget everything written so far."""
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            self._temporary.unlink(missing_ok=True)

    def _write_blocks(self, num_bytes: int) -> None:
        ready, self._pending = self._pending[:num_bytes], self._pending[num_bytes:]
        self._block_crcs += [crc32(ready[at : at + _BLOCK_BYTES]) for at in range(0, num_bytes, _BLOCK_BYTES)]
        try:
            self._file.write(ready)
        except OSError as error:
            self.discard()
            raise as_write_error(error, self.path) from error

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()


class ShardReader:
    """One shard as a read-only array of token ids and a list of documents.

    Shapes: tokens (num_tokens,), document_starts (num_documents + 1,): document i is tokens[starts[i] : starts[i + 1]].
    Raises: FileError if there is no such file; DataError naming shard and byte offset if it is truncated or damaged.
    """

    def __init__(self, path: Path, *, verify: bool = True) -> None:
        self.path = path
        self._layout = _read_layout(path)
        self.document_starts, self._block_crcs = _read_index(path, self._layout)
        self.tokens = _map_tokens(path, self._layout)
        if verify:
            self.verify()

    @property
    def num_tokens(self) -> int:
        """Token ids in the shard."""
        return self._layout.num_tokens

    @property
    def num_documents(self) -> int:
        """Documents in the shard."""
        return self._layout.num_documents

    @property
    def vocab_size(self) -> int:
        """Every id is below this."""
        return self._layout.vocab_size

    def __len__(self) -> int:
        return self.num_documents

    def __getitem__(self, index: int) -> TokenArray:
        """Return the token ids of one document."""
        if not 0 <= index < self.num_documents:
            raise IndexError(f"document {index} of {self.num_documents} in {self.path}")
        return self.tokens[int(self.document_starts[index]) : int(self.document_starts[index + 1])]

    def __iter__(self) -> Iterator[TokenArray]:
        return (self[index] for index in range(self.num_documents))

    def verify(self) -> None:
        """Compare every block of tokens with its CRC-32.

        Raises: DataError naming the offset of the first block that does not fit.
        """
        for start in self._damaged_starts():
            raise _damaged(self.path, f"CRC mismatch at offset {_HEADER.size + start}")

    def damaged_documents(self) -> dict[int, int]:
        """Return the documents that lie in damaged blocks, each with the offset of its first such block."""
        found: dict[int, int] = {}
        for start in self._damaged_starts():
            first, after = (edge // self._layout.width for edge in (start, start + _BLOCK_BYTES))
            ends, starts = self.document_starts[1:], self.document_starts[:-1]
            for document in np.flatnonzero((ends > first) & (starts < after)).tolist():
                found.setdefault(document, _HEADER.size + start)
        return found

    def _damaged_starts(self) -> Iterator[int]:
        data = self.tokens.view(np.uint8)
        for block, expected in enumerate(self._block_crcs):
            start = block * _BLOCK_BYTES
            if crc32(data[start : start + _BLOCK_BYTES].data) != expected:
                yield start


def find_shards(directory: Path) -> list[Path]:
    """Return the shards of a prepared corpus, in order.

    Raises: FileError if the folder is missing or holds none.
    """
    found = sorted(directory.glob(f"*{SHARD_SUFFIX}")) if directory.is_dir() else []
    if not found:
        raise FileError(f"{directory} holds no shards (*{SHARD_SUFFIX}).", hint="make them with `banyan prepare`")
    return found


def count_tokens(shards: Iterable[ShardReader]) -> int:
    """Return how many tokens the shards hold together."""
    return sum(shard.num_tokens for shard in shards)


def _damaged(path: Path, problem: str) -> DataError:
    return DataError(f"shard {path}: {problem}.", hint="delete it and run `banyan prepare` again")


def _read_at(path: Path, offset: int, num_bytes: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(num_bytes)
    except FileNotFoundError as error:
        raise FileError(f"shard {path} not found.", hint="run `banyan prepare` again") from error
    except OSError as error:
        raise FileError(f"cannot read shard {path}: {error.strerror or error}.") from error


def _read_layout(path: Path) -> _Layout:
    header = _read_at(path, 0, _HEADER.size)
    if len(header) < _HEADER.size:
        raise _damaged(path, f"truncated at offset {len(header)} (its header alone has {_HEADER.size} bytes)")
    magic, version, width, vocab_size, num_tokens, num_documents, index_crc, header_crc = _HEADER.unpack(header)
    if magic != _MAGIC:
        raise _damaged(path, f"not a shard (it starts with {magic!r}, a shard with {_MAGIC!r})")
    if crc32(header[:-4]) != header_crc:
        raise _damaged(path, "CRC mismatch at offset 0 (header)")
    if version != _VERSION or width not in (2, 4):
        raise _damaged(path, f"format version {version} with {width}-byte ids is not one this program reads")
    layout = _Layout(
        width=width, vocab_size=vocab_size, num_tokens=num_tokens, num_documents=num_documents, index_crc=index_crc
    )
    size = path.stat().st_size
    if size < layout.file_bytes:
        raise _damaged(path, f"truncated at offset {size} of {layout.file_bytes}")
    if size > layout.file_bytes:
        raise _damaged(path, f"{size - layout.file_bytes} bytes too many after offset {layout.file_bytes}")
    return layout


def _read_index(path: Path, layout: _Layout) -> tuple[npt.NDArray[np.int64], list[int]]:
    index = _read_at(path, layout.index_offset, layout.file_bytes - layout.index_offset)
    if crc32(index) != layout.index_crc:
        raise _damaged(path, f"CRC mismatch at offset {layout.index_offset} (document index)")
    ends = np.frombuffer(index, dtype="<u8", count=layout.num_documents).astype(np.int64)
    starts = np.concatenate([np.zeros(1, dtype=np.int64), ends])
    if starts[-1] != layout.num_tokens or (np.diff(starts) < 0).any():
        raise _damaged(path, f"document index at offset {layout.index_offset} does not fit the tokens")
    crcs = np.frombuffer(index, dtype="<u4", offset=8 * layout.num_documents)
    return starts, [int(crc) for crc in crcs]


def _map_tokens(path: Path, layout: _Layout) -> TokenArray:
    dtype = np.dtype(f"<u{layout.width}")
    if layout.num_tokens == 0:  # an empty stretch cannot be mapped
        return np.empty(0, dtype=dtype)
    return np.memmap(path, dtype=dtype, mode="r", offset=_HEADER.size, shape=(layout.num_tokens,))
