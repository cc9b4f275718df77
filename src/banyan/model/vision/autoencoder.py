"""The picture autoencoder: a picture becomes a small grid of codes, and a picture again."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from banyan.core.config import config
from banyan.core.errors import ConfigError
from banyan.model.vision.finite_scalar import FiniteScalarQuantizer
from banyan.model.vision.layers import Double, Halve, ResidualBlock, group_norm
from banyan.model.vision.quantized import Quantized
from banyan.model.vision.vector import VectorQuantizer

MAX_CODES = 1 << 16
MAX_IMAGE_SIZE, MAX_WIDTH, MAX_LEVELS, MAX_BLOCKS, MAX_CODE_DIM = 4096, 2048, 8, 64, 256  # of any file we open


@config
class AutoencoderConfig:
    """Sizes of one picture autoencoder; each level halves the resolution once."""

    image_size: int  # pixels a side
    channels: int  # 1 grey, 3 RGB
    quantizer: Literal["fsq", "vq"] = "fsq"
    levels: tuple[int, ...] = (8, 5, 5, 5)  # fsq: of each number in a cell; their product is the codebook
    num_codes: int = 1024  # vq
    code_dim: int = 8  # vq: numbers in a cell
    widths: tuple[int, ...] = (48, 96)  # channels of each level; as many levels as the resolution is halved
    num_blocks: int = 1  # residual blocks in each level, of encoder and decoder

    def __post_init__(self) -> None:
        if self.channels not in (1, 3):
            raise ConfigError(f"channels={self.channels} must be 1 (grey) or 3 (RGB).")
        are_fitting = all(8 <= width <= MAX_WIDTH and width % 8 == 0 for width in self.widths)
        if not (1 <= len(self.widths) <= MAX_LEVELS and are_fitting):
            raise ConfigError(
                f"widths={list(self.widths)} must be multiples of 8 up to {MAX_WIDTH}, one for each of at most "
                f"{MAX_LEVELS} levels."
            )
        if not 1 <= self.num_blocks <= MAX_BLOCKS:
            raise ConfigError(f"num_blocks={self.num_blocks} must lie between 1 and {MAX_BLOCKS}.")
        if self.quantizer == "fsq" and (not self.levels or any(level < 2 for level in self.levels)):
            raise ConfigError(f"levels={list(self.levels)} must be 2 or more each.")
        if not 2 <= self.codebook_size <= MAX_CODES or not 2 <= self.code_dim <= MAX_CODE_DIM:
            raise ConfigError(
                f"{self.codebook_size} codes of {self.code_dim} numbers cannot be made; 2 to {MAX_CODES} codes of 2 to "
                f"{MAX_CODE_DIM} numbers can."
            )
        self._check_size()

    def _check_size(self) -> None:
        step = self.downsampling
        if self.image_size > MAX_IMAGE_SIZE:
            raise ConfigError(f"image_size={self.image_size} is more than {MAX_IMAGE_SIZE} pixels.")
        if self.image_size < step or self.image_size % step:
            lower = max(step, self.image_size - self.image_size % step)
            raise ConfigError(
                f"image_size={self.image_size} is not divided by the downsampling of {step} "
                f"({len(self.widths)} widths); nearest sizes that are: {lower} and {lower + step}."
            )

    @property
    def downsampling(self) -> int:
        """Pixels a side that one code stands for."""
        return 1 << len(self.widths)

    @property
    def grid_size(self) -> int:
        """Codes a side."""
        return self.image_size // self.downsampling

    @property
    def codebook_size(self) -> int:
        """Codes there are."""
        return math.prod(self.levels) if self.quantizer == "fsq" else self.num_codes


class Autoencoder(nn.Module):
    """Encoder, quantizer and decoder; grey or RGB pictures with samples from -1 to 1.

    Shapes: pictures (B, C, Y, X); codes (B, grid, grid).
    """

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        self.quantizer: FiniteScalarQuantizer | VectorQuantizer = (
            FiniteScalarQuantizer(config.levels)
            if config.quantizer == "fsq"
            else VectorQuantizer(config.num_codes, config.code_dim)
        )
        self.encoder = _encoder(config, self.quantizer.num_dims)
        self.decoder = _decoder(config, self.quantizer.num_dims)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Quantized]:
        """Return the pictures as they come back, not yet cut to -1 … 1, and their codes."""
        quantized = self.quantizer(self.encoder(pictures))
        return self.decoder(quantized.values), quantized

    @torch.no_grad()
    def encode(self, pictures: Tensor) -> Tensor:
        """Return the codes of pictures."""
        codes: Tensor = self.quantizer(self.encoder(pictures)).codes
        return codes

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Return the pictures of codes, cut to -1 … 1."""
        pictures: Tensor = self.decoder(self.quantizer.look_up(codes)).clamp(-1, 1)
        return pictures


class _Head(nn.Module):
    """Norm, activation and one convolution: what ends a stack of blocks."""

    def __init__(self, num_channels: int, num_outputs: int, *, kernel_size: int) -> None:
        super().__init__()
        self.norm = group_norm(num_channels)
        self.conv = nn.Conv2d(num_channels, num_outputs, kernel_size, padding=kernel_size // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: (B, C, Y, X) → (B, num_outputs, Y, X)."""
        outputs: Tensor = self.conv(F.silu(self.norm(x)))
        return outputs


def _blocks(width: int, num: int) -> list[nn.Module]:
    return [ResidualBlock(width) for _ in range(num)]


def _encoder(config: AutoencoderConfig, num_dims: int) -> nn.Sequential:
    """Nothing is computed at full resolution but the first halving: there a block costs most and tells least."""
    layers: list[nn.Module] = []
    for before, width in zip((config.channels, *config.widths), config.widths, strict=False):
        layers += [Halve(before, width), *_blocks(width, config.num_blocks)]
    return nn.Sequential(*layers, _Head(config.widths[-1], num_dims, kernel_size=1))


def _decoder(config: AutoencoderConfig, num_dims: int) -> nn.Sequential:
    *others, deepest = config.widths
    layers: list[nn.Module] = [nn.Conv2d(num_dims, deepest, 3, padding=1), *_blocks(deepest, config.num_blocks)]
    before = deepest
    for width in reversed(others):
        layers += [Double(before, width), *_blocks(width, config.num_blocks)]
        before = width
    layers += [_Head(before, 4 * config.channels, kernel_size=3), nn.PixelShuffle(2)]
    return nn.Sequential(*layers)


def as_samples(pixels: Tensor) -> Tensor:
    """Return 8-bit pixels as numbers from -1 to 1."""
    return pixels.float() / 127.5 - 1


def as_pixels(samples: Tensor) -> Tensor:
    """Return numbers from -1 to 1 as 8-bit pixels; others are cut off."""
    return ((samples.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
