"""The smallest image tokenizer: cut a picture into square patches and name each by its nearest codebook entry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from banyan.core.errors import CheckpointError, ConfigError, DataError, InputError
from banyan.core.types import Image
from banyan.tokenizers.pictures import image_from_array, image_to_array

Floats = NDArray[np.float64]

_MAX_ROUNDS = 50
_CHUNK = 65_536  # patches compared with the codebook at a time


class PatchCodebook:
    """A codebook of patches of pixels, learned with k-means.

    Shapes: codebook (num_codes, patch_size * patch_size * channels), samples 0 to 255.
    """

    kind = "patch_codebook"

    def __init__(self, codebook: Floats, *, image_size: int, channels: int) -> None:
        self._codebook = codebook
        self.image_size = image_size
        self.channels = channels
        self.patch_size = round((codebook.shape[1] / channels) ** 0.5)
        self.grid_size = image_size // self.patch_size
        self.num_codes = codebook.shape[0]

    @classmethod
    def train(cls, images: Sequence[Image], *, patch_size: int, num_codes: int, seed: int) -> PatchCodebook:
        """Learn a codebook from pictures of one size; the same pictures and seed give the same codebook.

        Raises: DataError if there are no pictures or fewer different patches than codes; ConfigError if the patches
            do not tile the picture.
        """
        if not images:
            raise DataError("an image tokenizer cannot be trained on no pictures.")
        size, channels = images[0].width, images[0].channels
        if patch_size < 1 or size % patch_size:
            raise ConfigError(f"patches of {patch_size} pixels do not tile a picture of {size} pixels.")
        patches = _patches(images, patch_size=patch_size, image_size=size, channels=channels)
        codebook = _k_means(patches, num_codes=num_codes, generator=np.random.default_rng(seed))
        return cls(codebook, image_size=size, channels=channels)

    def encode(self, images: Sequence[Image]) -> list[tuple[int, ...]]:
        """Return grid_size² codes for each picture, row by row.

        Raises: InputError for a picture of another size.
        """
        if not images:
            return []
        patches = _patches(images, patch_size=self.patch_size, image_size=self.image_size, channels=self.channels)
        codes = _nearest(patches, self._codebook).reshape(len(images), -1)
        return [tuple(row) for row in codes.tolist()]

    def decode(self, codes: Sequence[Sequence[int]]) -> list[Image]:
        """Return the picture of each row of codes.

        Raises: InputError for a row of another length, or a code outside the codebook.
        """
        return [self._decode_one(row) for row in codes]

    def _decode_one(self, codes: Sequence[int]) -> Image:
        num_cells = self.grid_size * self.grid_size
        if len(codes) != num_cells or not all(0 <= code < self.num_codes for code in codes):
            raise InputError(
                f"{len(codes)} image codes between {min(codes, default=0)} and {max(codes, default=0)} are not a "
                f"picture; {num_cells} codes from 0 to {self.num_codes - 1} are."
            )
        grid, patch, size = self.grid_size, self.patch_size, self.image_size
        cells = self._codebook[list(codes)].reshape(grid, grid, patch, patch, self.channels)
        pixels = cells.transpose(0, 2, 1, 3, 4).reshape(size, size, self.channels)
        return image_from_array(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))

    def to_tensors(self) -> dict[str, Tensor]:
        """Return the codebook as float32."""
        return {"codebook": torch.from_numpy(self._codebook.astype(np.float32))}

    @property
    def settings(self) -> Mapping[str, Any]:
        """Return nothing: all follows from the codebook."""
        return {}

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, Tensor], *, image_size: int, channels: int, settings: Mapping[str, Any]
    ) -> PatchCodebook:
        """Rebuild the tokenizer from `to_tensors`; it has no settings.

        Raises: CheckpointError if the codebook is missing or its patches do not tile the picture.
        """
        codebook = tensors.get("codebook")
        if codebook is None or codebook.ndim != 2 or not codebook.isfinite().all():
            raise CheckpointError("the image tokenizer has no usable codebook tensor.")
        patch_size = round((codebook.shape[1] / max(channels, 1)) ** 0.5)
        if patch_size < 1 or patch_size**2 * channels != codebook.shape[1] or image_size % patch_size:
            raise CheckpointError(
                f"a codebook of shape {tuple(codebook.shape)} does not tile a picture of {image_size} pixels "
                f"with {channels} channels."
            )
        return cls(codebook.numpy().astype(np.float64), image_size=image_size, channels=channels)


def _patches(images: Sequence[Image], *, patch_size: int, image_size: int, channels: int) -> Floats:
    """Cut pictures into patches, row by row: (num_images * grid_size², patch_size² * channels)."""
    for image in images:
        if (image.width, image.height, image.channels) != (image_size, image_size, channels):
            raise InputError(
                f"a picture of {image.width}×{image.height} with {image.channels} channels does not fit an image "
                f"tokenizer for {image_size}×{image_size} with {channels}."
            )
    grid = image_size // patch_size
    pixels = np.stack([image_to_array(image) for image in images]).astype(np.float64)
    cells = pixels.reshape(len(images), grid, patch_size, grid, patch_size, channels).transpose(0, 1, 3, 2, 4, 5)
    return cells.reshape(-1, patch_size * patch_size * channels)


def _nearest(patches: Floats, codebook: Floats) -> NDArray[np.int64]:
    """Return the index of the nearest codebook entry by squared distance; the lowest index wins a tie."""
    norms = (codebook**2).sum(axis=1)
    chunks = [patches[start : start + _CHUNK] for start in range(0, len(patches), _CHUNK)]
    return np.concatenate([np.argmin(norms - 2 * chunk @ codebook.T, axis=1) for chunk in chunks])


def _k_means(patches: Floats, *, num_codes: int, generator: np.random.Generator) -> Floats:
    """Return `num_codes` centres of the patches, sorted by brightness so that a code's number means something.

    Source: k-means++ seeding (Arthur & Vassilvitskii 2007), then Lloyd's rounds; a centre that loses all its
        patches moves to the patch that is farthest from its centre.
    """
    distinct, counts = np.unique(patches, axis=0, return_counts=True)
    if len(distinct) < num_codes:
        raise DataError(
            f"image.num_codes={num_codes} is more than the {len(distinct)} different patches of the pictures.",
            hint=f"use at most {len(distinct)} codes, or more pictures",
        )
    centres = _spread_out(distinct, counts, num_codes=num_codes, generator=generator)
    for _ in range(_MAX_ROUNDS):
        previous = centres
        centres = _centres_of(distinct, counts, previous)
        if np.array_equal(centres, previous):
            break
    centres = centres.astype(np.float32).astype(np.float64)  # what a file keeps, so that a loaded one encodes alike
    order = np.argsort(centres.sum(axis=1), kind="stable")
    return centres[order]


def _spread_out(points: Floats, counts: NDArray[np.int64], *, num_codes: int, generator: np.random.Generator) -> Floats:
    chosen = [int(generator.choice(len(points), p=counts / counts.sum()))]
    distances = ((points - points[chosen[0]]) ** 2).sum(axis=1)
    while len(chosen) < num_codes:
        weights = distances * counts
        chosen.append(int(generator.choice(len(points), p=weights / weights.sum())))
        distances = np.minimum(distances, ((points - points[chosen[-1]]) ** 2).sum(axis=1))
    return points[chosen].copy()


def _centres_of(points: Floats, counts: NDArray[np.int64], centres: Floats) -> Floats:
    owners = _nearest(points, centres)
    mass = np.bincount(owners, weights=counts, minlength=len(centres))
    sums = np.zeros_like(centres)
    np.add.at(sums, owners, points * counts[:, None])
    empty = np.flatnonzero(mass == 0)
    moved = sums / np.maximum(mass, 1)[:, None]
    if len(empty):
        distances = ((points - centres[owners]) ** 2).sum(axis=1)
        moved[empty] = points[np.argsort(-distances, kind="stable")[: len(empty)]]
    return moved
