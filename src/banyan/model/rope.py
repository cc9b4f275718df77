"""Rotary positions: queries and keys are turned by an angle that grows with their position."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from banyan.model.config import ModelConfig, RopeScaling


def rope_frequencies(head_dim: int, *, theta: float, scaling: RopeScaling | None = None) -> Tensor:
    """Return the angle per position of each pair of channels.

    Shapes: returns (head_dim / 2,), float32.
    Source: Su et al. 2021 (eq. 15).
    """
    frequencies = 1.0 / theta ** (torch.arange(0, head_dim, 2, dtype=torch.float32, device="cpu") / head_dim)
    return frequencies if scaling is None else stretch_low_frequencies(frequencies, scaling)


def stretch_low_frequencies(frequencies: Tensor, scaling: RopeScaling) -> Tensor:
    """Divide low frequencies by the factor, keep high ones, and blend those between.

    Source: Llama 3.1, `rope_type: llama3`.
    """
    turns = scaling.original_max_seq_len * frequencies / (2 * math.pi)  # full turns within the first training length
    kept = (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)
    kept = kept.clamp(0.0, 1.0)
    return frequencies * (kept + (1.0 - kept) / scaling.factor)


class RopeTable:
    """Cosine and sine of every position, computed once per device; no part of the weights."""

    def __init__(self, config: ModelConfig) -> None:
        self._config = config
        self._tables: dict[tuple[torch.device, torch.dtype], tuple[Tensor, Tensor]] = {}

    def at(self, position_ids: Tensor, *, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return cosines and signed sines for `rotate`.

        Shapes: position_ids (B, T) or (T,); returns two of (B or 1, T, 1, head_dim).
        """
        key = (position_ids.device, dtype)
        if key not in self._tables:
            self._tables[key] = self._compute(position_ids.device, dtype)
        cos, sin = self._tables[key]
        position_ids = position_ids if position_ids.dim() == 2 else position_ids[None]
        return cos[position_ids].unsqueeze(2), sin[position_ids].unsqueeze(2)

    def _compute(self, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        config = self._config
        frequencies = rope_frequencies(config.head_dim, theta=config.rope_theta, scaling=config.rope_scaling)
        angles = torch.outer(torch.arange(config.max_seq_len, dtype=torch.float32, device="cpu"), frequencies)
        cos, sin = angles.cos(), angles.sin()
        # The sign of "rotate half" is kept in the table, so that `rotate` needs no negation.
        tables = torch.cat((cos, cos), dim=-1), torch.cat((-sin, sin), dim=-1)
        return tables[0].to(device=device, dtype=dtype), tables[1].to(device=device, dtype=dtype)


def rotate(x_BTHK: Tensor, cos: Tensor, signed_sin: Tensor) -> Tensor:
    """Turn each pair (k, k + K/2) of channels by its position's angle; lengths and dot products of equals stay.

    Shapes: x (B, T, H, K); cos, signed_sin (B or 1, T, 1, K).
    """
    return torch.addcmul(x_BTHK * cos, x_BTHK.roll(x_BTHK.shape[-1] // 2, dims=-1), signed_sin)
