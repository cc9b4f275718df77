"""What one training step of a picture tokenizer looks at: pictures, and a stream of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from banyan.core.config import config
from banyan.core.errors import ConfigError, DataError

_MOST = {"turn_degrees": 180, "scale_share": 0.5, "shear_share": 0.5, "warp_pixels": 8}
_NEAR_SHARE = 1 / 6  # of a side: as far as points move nearly alike; 4 to 5 of 28 pixels, as Simard et al. 2003 do


@config
class PictureAugmentation:
    """What may be done to a square picture without changing what it shows."""

    flip: bool = False  # left and right exchanged, half of the time; not where pictures show letters or digits
    crop_pixels: int = 0  # moved by up to so many pixels; what comes in repeats the edge
    turn_degrees: float = 0.0  # turned by up to so many degrees, 0 to 180
    scale_share: float = 0.0  # made wider and higher, or narrower and lower, each by up to this share, 0 to 0.5
    shear_share: float = 0.0  # slanted by up to this share of the height, 0 to 0.5
    warp_pixels: float = 0.0  # bent: how far points move, as a standard deviation; what is near moves alike

    def __post_init__(self) -> None:
        if self.crop_pixels < 0:
            raise ConfigError(f"crop_pixels={self.crop_pixels} must be 0 or more.")
        for name, most in _MOST.items():
            if not 0 <= getattr(self, name) <= most:
                raise ConfigError(f"{name}={getattr(self, name)} must lie between 0 and {most:g}.")

    @property
    def changes_shape(self) -> bool:
        """Whether pictures are turned, scaled, slanted or bent: each copy is another one then."""
        return any(getattr(self, name) for name in _MOST)

    @property
    def changes_anything(self) -> bool:
        """Whether a picture may become another one at all."""
        return self.flip or self.crop_pixels > 0 or self.changes_shape

    def apply(self, pixels: Tensor, generator: np.random.Generator) -> Tensor:
        """Return the pictures, each changed in its own way.

        Shapes: (B, C, Y, X) → the same.
        """
        if self.flip:
            chosen = torch.from_numpy(generator.random(len(pixels)) < 0.5)
            pixels = torch.where(chosen[:, None, None, None], pixels.flip(3), pixels)
        if self.crop_pixels:
            moves = generator.integers(-self.crop_pixels, self.crop_pixels + 1, size=(2, len(pixels), 1))
            pixels = _moved(pixels, torch.from_numpy(moves))
        if self.changes_shape:
            pixels = _sampled_at(pixels, self._places(pixels, generator))
        return pixels

    def _places(self, pixels: Tensor, generator: np.random.Generator) -> Tensor:
        """Return where each pixel is taken from, (B, Y, X, 2), from -1 to 1 over the picture, x before y."""
        num, _, height, width = pixels.shape
        turn, slant, *scales = generator.uniform(-1, 1, (4, num))
        angle = np.deg2rad(self.turn_degrees * turn)
        across, down = (1 / (1 + self.scale_share * scale) for scale in scales)
        slant = self.shear_share * slant
        turned = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        shaped = np.array([[across, slant * down], [np.zeros(num), down]])
        maps = np.zeros((num, 2, 3))
        maps[:, :, :2] = np.einsum("ijn,jkn->nik", turned, shaped)
        size = [num, 1, height, width]
        places: Tensor = F.affine_grid(torch.from_numpy(maps).float(), size, align_corners=False)
        if self.warp_pixels:
            bends = generator.standard_normal((num, 2, height, width), dtype=np.float32)
            moved = _smooth(height) @ torch.from_numpy(bends) @ _smooth(width).T
            places = places + moved.permute(0, 2, 3, 1) * (2 * self.warp_pixels / torch.tensor([width, height]))
        return places


def _smooth(size: int) -> Tensor:
    """Return what makes `size` independent numbers a smooth course of the same spread, (size, size)."""
    steps = torch.arange(size, dtype=torch.float32)
    weights = torch.exp(-0.5 * ((steps[:, None] - steps) / (_NEAR_SHARE * size)) ** 2)
    return F.normalize(weights)


def _sampled_at(pixels: Tensor, places: Tensor) -> Tensor:
    """Return pictures whose pixels lie between those of others; what lies outside repeats the edge."""
    sampled = F.grid_sample(pixels.float(), places, mode="bicubic", padding_mode="border", align_corners=False)
    return sampled.round_().clamp_(0, 255).to(pixels.dtype)


def _moved(pixels: Tensor, moves: Tensor) -> Tensor:
    """Move each picture by its own number of pixels down and right."""
    num, _, height, width = pixels.shape
    rows = (torch.arange(height) - moves[0]).clamp(0, height - 1)
    columns = (torch.arange(width) - moves[1]).clamp(0, width - 1)
    return pixels[torch.arange(num)[:, None, None], :, rows[:, :, None], columns[:, None, :]].movedim(3, 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageBatch:
    """Pictures of one size.

    Shapes: pixels (B, C, Y, X), uint8; labels (B,), int64.
    """

    pixels: Tensor
    labels: Tensor
    terms: tuple[int, ...]  # which parts of the loss count in this step, by their place in the list of all

    @property
    def num_targets(self) -> int:
        """Pictures."""
        return len(self.pixels)

    @property
    def num_tokens(self) -> int:
        """Pictures: throughput is counted in them."""
        return len(self.pixels)

    def to(self, device: torch.device) -> Self:
        """Return the same batch on a device."""
        return replace(
            self,
            pixels=self.pixels.to(device, non_blocking=True),
            labels=self.labels.to(device, non_blocking=True),
        )

    def split(self, num: int) -> list[Self]:
        """Return the pictures in `num` parts; fewer where there are fewer pictures."""
        parts = zip(self.pixels.tensor_split(num), self.labels.tensor_split(num), strict=True)
        return [replace(self, pixels=pixels, labels=labels) for pixels, labels in parts if len(pixels)]

    def weights_by_task(self, num_tasks: int) -> Tensor:
        """Return the number of pictures for each part of the loss that counts, and 0 for the others."""
        weights = torch.zeros(num_tasks)
        weights[list(self.terms)] = len(self.pixels)
        return weights

    def with_noise(self, seed: int) -> Self:
        """Return the same batch: nothing in it is random any more."""
        return self


class PictureLoader:
    """An endless stream of pictures: epoch after epoch, each shuffled and changed anew, as the seed alone decides."""

    def __init__(
        self,
        pixels: Tensor,
        labels: Tensor,
        *,
        rows_per_batch: int,
        first_batches: Sequence[int],  # in which each part of the loss counts
        augmentation: PictureAugmentation,
        seed: int,
    ) -> None:
        if not len(pixels):
            raise DataError("there are no pictures to learn from.", hint="check data.train")
        self._pixels, self._labels = pixels, labels
        self._rows_per_batch = rows_per_batch
        self._first_batches = tuple(first_batches)
        self._augmentation = augmentation
        self._seed = seed
        self._num_batches = 0
        self._num_pictures = 0
        self._order: tuple[int, NDArray[np.int64]] = (-1, np.empty(0, np.int64))

    def next_batch(self, *, num_rows: int | None = None, seq_len: int | None = None) -> ImageBatch:
        """Return the pictures of one step."""
        num = num_rows or self._rows_per_batch
        chosen = torch.tensor([self._number_at(self._num_pictures + place) for place in range(num)])
        generator = np.random.default_rng([self._seed, 1, self._num_batches])
        batch = ImageBatch(
            pixels=self._augmentation.apply(self._pixels[chosen], generator),
            labels=self._labels[chosen],
            terms=tuple(term for term, first in enumerate(self._first_batches) if self._num_batches >= first),
        )
        self._num_batches += 1
        self._num_pictures += num
        return batch

    def _number_at(self, place: int) -> int:
        epoch, within = divmod(place, len(self._pixels))
        if self._order[0] != epoch:
            generator = np.random.default_rng([self._seed, 0, epoch])
            self._order = (epoch, generator.permutation(len(self._pixels)))
        return int(self._order[1][within])

    def state(self) -> Mapping[str, Any]:
        """Return the place in the stream, ready for JSON."""
        return {"num_batches": self._num_batches, "num_pictures": self._num_pictures}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue where `state` was taken."""
        self._num_batches, self._num_pictures = state["num_batches"], state["num_pictures"]
