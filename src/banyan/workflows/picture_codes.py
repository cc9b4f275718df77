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
    made = list(examples)
    pictures = [example for example in examples if example.image is not None]
    for number in range(recipe.copies):
        generator = np.random.default_rng([seed, number])
        for example in pictures:
            image = fit_picture(example.image, image_size=tokenizer.image_size, channels=tokenizer.channels)
            may_flip = recipe.augment.flip and not _names_a_side(example)
            augment = dataclasses.replace(recipe.augment, flip=may_flip)
            made.append(dataclasses.replace(example, image=_changed(image, augment, generator)))
    return made


def _names_a_side(example: Any) -> bool:
    words = (str(getattr(example, field.name)) for field in dataclasses.fields(example) if field.name != "image")
    return any(_SIDES.search(text) for text in words)


def _changed(image: Image, augment: PictureAugmentation, generator: np.random.Generator) -> Image:
    pixels = torch.from_numpy(image_to_array(image).copy()).permute(2, 0, 1)[None]
    return image_from_array(augment.apply(pixels, generator)[0].permute(1, 2, 0).contiguous().numpy())
