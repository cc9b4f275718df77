"""The image tokenizer that needs no training: each cell of a picture becomes the nearest colour of a palette."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from banyan.core.errors import CheckpointError, ConfigError, InputError
from banyan.core.types import Image
from banyan.tokenizers.pictures import image_from_array, image_to_array

MAX_COLOURS = 1 << 16


class Palette:
    """A colour for each cell of pixels, from evenly spaced levels of red, green and blue, or of grey.

    Good for small pictures of few colours: pixel art, icons, plots.
    """

    kind = "palette"

    def __init__(self, *, image_size: int, channels: int, num_codes: int, cell_size: int = 1) -> None:
        """Choose as many levels of each channel as `num_codes` allows.

        Raises: ConfigError if there are too few codes, or the cells do not tile the picture.
        """
        if not 2**channels <= num_codes <= MAX_COLOURS or cell_size < 1 or image_size % cell_size:
            raise ConfigError(
                f"a palette of {num_codes} codes and cells of {cell_size} pixels do not fit pictures of {image_size} "
                f"pixels with {channels} channels: {2**channels} to {MAX_COLOURS} codes, and cells that tile a picture."
            )
        self.image_size, self.channels, self.cell_size = image_size, channels, cell_size
        self.levels = palette_levels(num_codes, channels=channels)
        self.num_codes = math.prod(self.levels)
        self.grid_size = image_size // cell_size

    @property
    def settings(self) -> Mapping[str, Any]:
        """What the palette is made from."""
        return {"num_codes": self.num_codes, "cell_size": self.cell_size}

    def encode(self, images: Sequence[Image]) -> list[tuple[int, ...]]:
        """Return grid_size² codes for each picture, row by row: the colour nearest to the mean of each cell.

        Raises: InputError for a picture of another size.
        """
        return [tuple(self._encode_one(image).tolist()) for image in images]

    def _encode_one(self, image: Image) -> NDArray[np.int64]:
        if (image.width, image.height, image.channels) != (self.image_size, self.image_size, self.channels):
            raise InputError(
                f"a picture of {image.width}×{image.height} with {image.channels} channels does not fit a palette for "
                f"{self.image_size}×{self.image_size} with {self.channels}."
            )
        grid, cell = self.grid_size, self.cell_size
        cells = image_to_array(image).reshape(grid, cell, grid, cell, self.channels).mean(axis=(1, 3))
        steps = np.array(self.levels) - 1
        digits = np.rint(cells.reshape(-1, self.channels) / 255 * steps).astype(np.int64)
        codes: NDArray[np.int64] = digits @ self._places()
        return codes

    def decode(self, codes: Sequence[Sequence[int]]) -> list[Image]:
        """Return the picture of each row of codes.

        Raises: InputError for a row of another length, or a code outside the palette.
        """
        return [self._decode_one(row) for row in codes]

    def _decode_one(self, codes: Sequence[int]) -> Image:
        grid, cell = self.grid_size, self.cell_size
        if len(codes) != grid * grid or not all(0 <= code < self.num_codes for code in codes):
            raise InputError(
                f"{len(codes)} image codes between {min(codes, default=0)} and {max(codes, default=0)} are not a "
                f"picture; {grid * grid} codes from 0 to {self.num_codes - 1} are."
            )
        levels = np.array(self.levels)
        digits = np.array(codes)[:, None] // self._places() % levels
        colours = np.rint(digits * 255 / (levels - 1)).astype(np.uint8).reshape(grid, grid, self.channels)
        return image_from_array(colours.repeat(cell, axis=0).repeat(cell, axis=1))

    def _places(self) -> NDArray[np.int64]:
        """Return what a level of each channel counts in a code."""
        return np.array([math.prod(self.levels[place + 1 :]) for place in range(self.channels)])

    def to_tensors(self) -> dict[str, Tensor]:
        """Return the levels: the only thing there is."""
        return {"levels": torch.tensor(self.levels)}

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, Tensor], *, image_size: int, channels: int, settings: Mapping[str, Any]
    ) -> Palette:
        """Rebuild the palette from `settings`.

        Raises: CheckpointError if they are not those of a palette.
        """
        try:
            return cls(image_size=image_size, channels=channels, **settings)
        except (ConfigError, TypeError) as error:
            raise CheckpointError(f"the palette cannot be made ({error}).") from error


def palette_levels(num_codes: int, *, channels: int) -> tuple[int, ...]:
    """Return how many levels each channel has in a palette of at most `num_codes` colours: 128 → 5 × 5 × 5.

    What is left over goes to green first, to which eyes are most sensitive, then to red.
    """
    if channels == 1:
        return (num_codes,)
    base = next(level for level in range(num_codes, 0, -1) if level**3 <= num_codes)
    levels = [base] * 3
    for channel in (1, 0):
        if math.prod(levels) // levels[channel] * (levels[channel] + 1) <= num_codes:
            levels[channel] += 1
    return tuple(levels)
