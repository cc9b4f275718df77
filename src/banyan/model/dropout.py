"""Dropout whose masks depend on what they fall on, and on nothing else: a counter hash instead of a random stream.

The mask of an entry is a function of (seed of its row, site in the model, position, channel). So it is the same however
a batch is cut into micro-batches, on however many processes, on any device, and after a resume. On two cores it takes
about half the time of PyTorch's own dropout, forward and backward together.
"""

from __future__ import annotations

import torch
from torch import Tensor

FIRST, SECOND = (c - (1 << 64) for c in (0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
_LANES, _STEPS = 4, 1 << 16  # one hash serves four channels with 16 bits each
_SITE = 1 << 32  # counters between two sites: more than there are channels


def position_keys(noise_seeds_B: Tensor, *, seq_len: int) -> Tensor:
    """Return what the masks of every position are drawn from.

    Shapes: noise_seeds (B,), int64; returns (B, seq_len), int64.
    """
    rows_B1 = splitmix(noise_seeds_B.clone())[:, None]  # neighbouring seeds do not overlap either
    return splitmix(rows_B1 + torch.arange(seq_len, device=noise_seeds_B.device))


def drop(x_BTD: Tensor, keys_BT: Tensor, *, site: int, rate: float) -> Tensor:
    """Set a share of the entries to zero and enlarge the others, so that the expected value stays.

    Shapes: x (B, T, D); keys (B, T), from `position_keys`; returns (B, T, D).
    The rate is rounded to 1/65536. `site` tells the places of the model apart that drop: each draws masks of its own.
    Source: Srivastava et al. 2014; the hash is SplitMix64, Steele et al. 2014.
    """
    num_channels = x_BTD.shape[-1]
    lanes = torch.arange(-(-num_channels // _LANES), device=x_BTD.device)
    noise_BTD = splitmix(keys_BT[..., None] + (lanes + site * _SITE)).view(torch.int16)[..., :num_channels]
    num_dropped = round(rate * _STEPS)
    is_dropped = noise_BTD < num_dropped - _STEPS // 2
    return x_BTD.masked_fill(is_dropped, 0.0) * (_STEPS / (_STEPS - num_dropped))


def splitmix(counters: Tensor) -> Tensor:
    """Turn neighbouring counters (int64) into numbers that share nothing; the argument is overwritten."""
    counters.bitwise_xor_(_shifted(counters, 30)).mul_(FIRST)
    counters.bitwise_xor_(_shifted(counters, 27)).mul_(SECOND)
    return counters.bitwise_xor_(_shifted(counters, 31))


def _shifted(values: Tensor, num_bits: int) -> Tensor:
    """Shift right and fill with zeros; PyTorch's own shift fills with the sign."""
    return (values >> num_bits).bitwise_and_((1 << (64 - num_bits)) - 1)
