"""Writing safetensors files tensor by tensor, so that a model larger than the memory can pass through.

The format: 8 bytes with the length of the header, the header as JSON (name → number format, shape, place), and the
tensors' bytes one after another. Source: huggingface/safetensors, README (format).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from banyan.core.errors import BanyanError
from banyan.core.files import as_write_error, atomic_write_json
from banyan.model.tensor_source import FLOATS, TensorSource

MAX_SHARD_BYTES = 5 * 10**9  # as transformers has it: files that every file system and mirror takes
_ALIGNMENT = 8  # bytes, of the header's end


def write_tensors(
    directory: Path,
    file: str,
    tensors: TensorSource,
    *,
    max_shard_bytes: int = MAX_SHARD_BYTES,
    on_progress: Callable[[int], None] | None = None,
) -> str:
    """Write all tensors into one file, or into shards with an index if that would grow too large.

    Only one tensor is in memory at a time; `on_progress` hears how many bytes are written so far.
    Returns the SHA-256 of the tensors' bytes in the order they were written in.
    Raises: SpaceError if the disk is full or the place cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    shards = _into_shards(tensors, max_shard_bytes=max_shard_bytes)
    writer = _Writer(tensors, on_progress=on_progress)
    if len(shards) == 1:
        writer.write(directory / file, shards[0])
        return writer.digest.hexdigest()
    names = [f"{Path(file).stem}-{i:05}-of-{len(shards):05}.safetensors" for i in range(1, len(shards) + 1)]
    for name, shard in zip(names, shards, strict=True):
        writer.write(directory / name, shard)
    file_of = {tensor: name for name, shard in zip(names, shards, strict=True) for tensor in shard}
    total = sum(tensors.info(name).num_bytes for name in tensors)
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(file_of.items()))}
    atomic_write_json(directory / f"{file}.index.json", index)
    return writer.digest.hexdigest()


def _into_shards(tensors: TensorSource, *, max_shard_bytes: int) -> list[list[str]]:
    """Divide the names, in their order, so that no shard is larger than asked for unless one tensor is."""
    shards: list[list[str]] = [[]]
    room = max_shard_bytes
    for name in sorted(tensors):
        num_bytes = tensors.info(name).num_bytes
        if shards[-1] and num_bytes > room:
            shards.append([])
            room = max_shard_bytes
        shards[-1].append(name)
        room -= num_bytes
    return shards


class _Writer:
    """Writes files of tensors and keeps count over all of them."""

    def __init__(self, tensors: TensorSource, *, on_progress: Callable[[int], None] | None) -> None:
        self._tensors = tensors
        self._on_progress = on_progress
        self._num_written = 0
        self.digest = sha256()

    def write(self, path: Path, names: Sequence[str]) -> None:
        # Wide numbers first: then each lies at a multiple of its own width, which readers that map the file rely on.
        ordered = sorted(names, key=lambda name: (-FLOATS[self._tensors.info(name).dtype].itemsize, name))
        header = self._header(ordered)
        try:
            with path.open("wb") as file:
                file.write(len(header).to_bytes(8, "little") + header)
                for name in ordered:
                    file.write(self._counted(bytes_of(self._tensors[name])))
        except OSError as error:
            if isinstance(error, BanyanError):  # of the file that is read
                raise
            raise as_write_error(error, path) from error

    def _counted(self, content: memoryview) -> memoryview:
        self.digest.update(content)
        self._num_written += len(content)
        if self._on_progress is not None:
            self._on_progress(self._num_written)
        return content

    def _header(self, names: Sequence[str]) -> bytes:
        # `format` tells transformers that the tensors are PyTorch's.
        header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
        start = 0
        for name in names:
            info = self._tensors.info(name)
            end = start + info.num_bytes
            header[name] = {"dtype": info.dtype, "shape": list(info.shape), "data_offsets": [start, end]}
            start = end
        encoded = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
        return encoded + b" " * (-len(encoded) % _ALIGNMENT)


def bytes_of(tensor: Tensor) -> memoryview:
    """Return a tensor's numbers as they lie in memory, without a copy if they lie in one piece."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data
