"""Pictures ↔ image codes: the protocol every image tokenizer meets, and the file it is kept in.

Other rooms find everything about pictures here, the helpers for arrays and PNG files included.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from banyan.core.errors import BanyanError, CheckpointError, FileError
from banyan.core.files import atomic_write_bytes
from banyan.core.model_directory import IMAGE_TOKENIZER_FILE
from banyan.core.registry import Registry
from banyan.core.types import Image
from banyan.tokenizers.learned_pictures import LearnedPictures
from banyan.tokenizers.palette import Palette
from banyan.tokenizers.patch_codebook import PatchCodebook
from banyan.tokenizers.pictures import (
    contact_sheet,
    image_from_array,
    image_from_bytes,
    image_to_array,
    image_to_png,
)

__all__ = [
    "IMAGE_TOKENIZERS",
    "ImageTokenizer",
    "ImageTokenizerReader",
    "LearnedPictures",
    "Palette",
    "PatchCodebook",
    "contact_sheet",
    "image_from_array",
    "image_from_bytes",
    "image_to_array",
    "image_to_png",
    "image_tokenizer_to_bytes",
    "load_image_tokenizer",
    "save_image_tokenizer",
]


class ImageTokenizer(Protocol):
    """Turns a square picture into grid_size² codes, row by row, and codes back into a picture."""

    @property
    def kind(self) -> str:
        """Name in the registry."""
        ...

    @property
    def image_size(self) -> int:
        """Width and height of the pictures, in pixels."""
        ...

    @property
    def channels(self) -> int:
        """1 for grey, 3 for RGB."""
        ...

    @property
    def grid_size(self) -> int:
        """Codes per row and per column."""
        ...

    @property
    def num_codes(self) -> int:
        """Size of the codebook."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """What else a reader needs beside the tensors, as plain values; empty where that is nothing."""
        ...

    def encode(self, images: Sequence[Image]) -> list[tuple[int, ...]]:
        """Return the codes of each picture."""
        ...

    def decode(self, codes: Sequence[Sequence[int]]) -> list[Image]:
        """Return the picture of each row of codes."""
        ...

    def to_tensors(self) -> dict[str, Tensor]:
        """Return everything that was learned."""
        ...


class ImageTokenizerReader(Protocol):
    """Rebuilds one kind of image tokenizer from its file."""

    def __call__(
        self, tensors: Mapping[str, Tensor], *, image_size: int, channels: int, settings: Mapping[str, Any]
    ) -> ImageTokenizer:
        """Return the tokenizer, or raise CheckpointError if the tensors do not fit."""
        ...


_LENGTH_BYTES = 8  # of a safetensors file: how long its header is

IMAGE_TOKENIZERS: Registry[ImageTokenizerReader] = Registry("image tokenizer")
IMAGE_TOKENIZERS.add("patch_codebook", PatchCodebook.from_tensors)
IMAGE_TOKENIZERS.add("autoencoder", LearnedPictures.from_tensors)
IMAGE_TOKENIZERS.add("palette", Palette.from_tensors)


def save_image_tokenizer(tokenizer: ImageTokenizer, path: Path) -> None:
    """Write an image tokenizer as one safetensors file; the same tokenizer always gives the same bytes."""
    atomic_write_bytes(path, image_tokenizer_to_bytes(tokenizer))


def image_tokenizer_to_bytes(tokenizer: ImageTokenizer) -> bytes:
    """Return an image tokenizer as the content of its file."""
    metadata = {
        "kind": tokenizer.kind,
        "image_size": str(tokenizer.image_size),
        "channels": str(tokenizer.channels),
    }
    if tokenizer.settings:
        metadata["settings"] = json.dumps(dict(tokenizer.settings), sort_keys=True)
    return _with_sorted_header(safetensors.torch.save(tokenizer.to_tensors(), metadata))


def _with_sorted_header(content: bytes) -> bytes:
    """Put the keys of a safetensors header in order; `safetensors` writes its metadata in an order drawn anew."""
    start = _LENGTH_BYTES + int.from_bytes(content[:_LENGTH_BYTES], "little")
    header = json.dumps(json.loads(content[_LENGTH_BYTES:start]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % _LENGTH_BYTES)  # the tensors begin at a multiple of eight
    return len(header).to_bytes(_LENGTH_BYTES, "little") + header + content[start:]


def load_image_tokenizer(path: Path) -> ImageTokenizer:
    """Read the image tokenizer that `save_image_tokenizer` wrote, from its file or the folder it lies in.

    Raises: FileError if the file is missing; CheckpointError if it is corrupt or of an unknown kind.
    """
    path = path / IMAGE_TOKENIZER_FILE if path.is_dir() else path
    if not path.is_file():
        raise FileError(f"{path} not found.", hint="the model has no image tokenizer, or the folder is incomplete")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        read = IMAGE_TOKENIZERS[metadata["kind"]]
        return read(
            tensors,
            image_size=int(metadata["image_size"]),
            channels=int(metadata["channels"]),
            settings=json.loads(metadata.get("settings", "{}")),
        )
    except (SafetensorError, KeyError, ValueError) as error:
        problem = error.message if isinstance(error, BanyanError) else f"{type(error).__name__}: {error}"
        raise CheckpointError(f"{path} cannot be read as an image tokenizer ({problem}).") from error
