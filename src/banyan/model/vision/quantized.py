"""What every quantizer of picture latents does: the protocol, and its result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantized:
    """Latents as a decoder reads them, and the codes that stand for them.

    Shapes: latents, values (B, num_dims, Y, X); codes (B, Y, X), int64; commitment (B,).
    """

    latents: Tensor  # as the encoder made them
    values: Tensor
    codes: Tensor
    commitment: Tensor  # how far each picture's latents lie from their codes: a loss, 0 where none is needed


class Quantizer(Protocol):
    """Turns each cell of a latent picture into one of `num_codes` codes, and back."""

    num_dims: int  # numbers in a cell
    num_codes: int

    def __call__(self, latents: Tensor) -> Quantized:
        """Quantize latents of shape (B, num_dims, Y, X)."""
        ...

    def look_up(self, codes: Tensor) -> Tensor:
        """Return the values of codes (B, Y, X), as (B, num_dims, Y, X)."""
        ...
