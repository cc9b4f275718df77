"""The codes of a run's pictures: extracted once, kept in shards, and read from there ever after."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from banyan.core.errors import DataError
from banyan.core.types import Image
from banyan.data.image_batch import PictureAugmentation
from banyan.data.shards import SHARD_SUFFIX, ShardReader, ShardWriter
from banyan.tasks.pictures import fit_picture
from banyan.tokenizers.images import ImageTokenizer, image_tokenizer_to_bytes
from banyan.tokenizers.pictures import image_from_array, image_to_array
from banyan.workflows.recipe import ImageTokenizerRecipe

_MIN_PICTURES = 64  # fewer are encoded in a moment, again and again
_CHANGED_TOGETHER = 512  # pictures: enough for fast products, few enough for memory at 256 × 256
_SIDES = re.compile(r"\b(left|right|east|west|clockwise)|[左右东西東]", re.IGNORECASE)


class RememberedCodes:
    """An image tokenizer that writes down the codes of many pictures, and reads those of the same pictures.

    A shard of the folder holds the codes of one lot of pictures in their order; its name says which, and by whom.
    """

    def __init__(self, tokenizer: ImageTokenizer, directory: Path) -> None:
        self._tokenizer = tokenizer
        self._directory = directory
        self.sha256 = sha256(image_tokenizer_to_bytes(tokenizer)).hexdigest()
        self.kind, self.image_size, self.channels = tokenizer.kind, tokenizer.image_size, tokenizer.channels
        self.grid_size, self.num_codes = tokenizer.grid_size, tokenizer.num_codes

    @property
    def settings(self) -> Mapping[str, Any]:
        """Those of the tokenizer."""
        return self._tokenizer.settings

    def encode(self, images: Sequence[Image]) -> list[tuple[int, ...]]:
        """Return the codes of each picture, from a shard if there is one.

        Raises: as the tokenizer; SpaceError if a shard cannot be written.
        """
        if len(images) < _MIN_PICTURES:
            return self._tokenizer.encode(images)
        path = self._directory / f"{self._name_of(images)}{SHARD_SUFFIX}"
        if path.is_file() and (codes := _read(path, len(images))) is not None:
            return codes
        codes = self._tokenizer.encode(images)
        with ShardWriter(path, vocab_size=self.num_codes) as writer:
            for row in codes:
                writer.add(row)
        return codes

    def _name_of(self, images: Sequence[Image]) -> str:
        digest = sha256(bytes.fromhex(self.sha256))
        for image in images:
            digest.update(f"{image.width} {image.height} {image.channels} ".encode())
            digest.update(image.pixels)
        return digest.hexdigest()[:32]

    def decode(self, codes: Sequence[Sequence[int]]) -> list[Image]:
        """Return the picture of each row of codes."""
        return self._tokenizer.decode(codes)

    def to_tensors(self) -> dict[str, Tensor]:
        """Return what the tokenizer has learned."""
        return self._tokenizer.to_tensors()


def _read(path: Path, num: int) -> list[tuple[int, ...]] | None:
    """Return the codes in a shard; None if it is damaged, and has to be written anew."""
    try:
        reader = ShardReader(path)
    except DataError:
        return None
    return [tuple(reader[number].tolist()) for number in range(num)] if len(reader) == num else None


def with_copies(
    examples: Sequence[Any], tokenizer: ImageTokenizer, recipe: ImageTokenizerRecipe, *, seed: int
) -> list[Any]:
    """Return the examples and, behind them, as many copies of each as a recipe asks for, with changed pictures.

    Examples are dataclasses with an `image`. One whose words name a side is never flipped.
    """
    pictures = [example for example in examples if example.image is not None]
    num_copies = recipe.num_copies(len(pictures))
    made = list(examples)
    if not num_copies:
        return made
    size, channels = tokenizer.image_size, tokenizer.channels
    fitted = (fit_picture(example.image, image_size=size, channels=channels) for example in pictures)
    pixels_NCYX = torch.from_numpy(np.stack([image_to_array(image) for image in fitted])).permute(0, 3, 1, 2)
    names_a_side = np.array([recipe.augment.flip and _names_a_side(example) for example in pictures])
    for number in range(num_copies):
        images = _changed(pixels_NCYX, names_a_side, recipe.augment, np.random.default_rng([seed, number]))
        made += [dataclasses.replace(example, image=image) for example, image in zip(pictures, images, strict=True)]
    return made


def _names_a_side(example: Any) -> bool:
    words = (str(getattr(example, field.name)) for field in dataclasses.fields(example) if field.name != "image")
    return any(_SIDES.search(text) for text in words)


def _changed(
    pixels_NCYX: Tensor, names_a_side: NDArray[np.bool_], augment: PictureAugmentation, generator: np.random.Generator
) -> list[Image]:
    """Return a changed copy of every picture, some at a time; those that show a side are not flipped."""
    images: dict[int, Image] = {}
    for stays in (False, True):
        own = dataclasses.replace(augment, flip=augment.flip and not stays)
        places = np.flatnonzero(names_a_side == stays)
        for start in range(0, len(places), _CHANGED_TOGETHER):
            some = places[start : start + _CHANGED_TOGETHER]
            changed_NYXC = own.apply(pixels_NCYX[some], generator).permute(0, 2, 3, 1).contiguous().numpy()
            images |= dict(zip(some.tolist(), map(image_from_array, changed_NYXC), strict=True))
    return [images[place] for place in range(len(pixels_NCYX))]
