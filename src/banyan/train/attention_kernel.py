"""Whether a run's attention leaves out whole blocks of packed rows, or makes all scores and covers some with a mask."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from banyan.model.blockwise import BLOCK, MIN_HEAD_DIM, attend_blockwise, block_mask
from banyan.model.masks import attention_mask
from banyan.model.transformer import Transformer
from banyan.train.compilation import first_line
from banyan.train.config import TrainConfig
from banyan.train.losses import TaskLosses
from banyan.train.precision import choose_precision
from banyan.train.step import LossFunction

LOG = logging.getLogger(__name__)
MAX_SHARE_APART = 0.05  # by which both ways may differ, of the length of a result, in bfloat16


def attends_blockwise(model: nn.Module, config: TrainConfig) -> bool:
    """Return whether the compiled blocks of a run can leave out what packed rows, prefixes and windows hide.

    That takes a GPU, products in bfloat16, heads at least 16 wide, rows longer than one block, and a kernel which a
    short pass finds right: where it is not, one line of the log says why.
    """
    if not isinstance(model, Transformer) or model.device.type != "cuda" or config.seq_len <= BLOCK:
        return False
    sizes = model.config
    if choose_precision(config.precision, model.device) != torch.bfloat16 or sizes.head_dim < MIN_HEAD_DIM:
        return False
    problem = kernel_problem(sizes.num_heads, sizes.num_kv_heads, sizes.head_dim, device=model.device)
    if problem:
        LOG.warning("blockwise_attention=false reason=%r", problem)
    return problem is None


def with_blockwise_attention(loss_function: LossFunction) -> LossFunction:
    """Return the loss function with passes planned by the block while it is computed, and only then."""

    def computed(model: Any, batch: Any) -> TaskLosses:
        model.planner.is_blockwise = True
        try:
            return loss_function(model, batch)
        finally:
            model.planner.is_blockwise = False

    return computed


@cache
def kernel_problem(num_heads: int, num_kv_heads: int, head_dim: int, *, device: torch.device) -> str | None:
    """Return why attention by the block cannot be used on a device, or None.

    Two packed rows and the gradients of their queries, keys and values are computed by its kernel and with a mask.
    """
    try:
        found, expected = _both_ways(num_heads, num_kv_heads, head_dim, device=device)
    except Exception as error:  # whatever a compiler, a driver or PyTorch has against it
        return first_line(error)
    apart = max(float((f - e).norm() / e.norm()) for f, e in zip(found, expected, strict=True))
    return None if apart <= MAX_SHARE_APART else f"its results lie {apart:.0%} from those with a mask"


def _both_ways(num_heads: int, num_kv_heads: int, head_dim: int, *, device: torch.device) -> list[list[Tensor]]:
    """Return what each way makes of the same numbers: the values gathered, and the three gradients; in float32."""
    generator = torch.Generator().manual_seed(0)
    q, k, v = drawn = [
        torch.randn(2, heads, 2 * BLOCK, head_dim, generator=generator).to(device, torch.bfloat16).requires_grad_()
        for heads in (num_heads, num_kv_heads, num_kv_heads)
    ]
    segments_BT, until_BT = _packed_rows(device)
    blocks = block_mask(segment_ids_BT=segments_BT, attend_until_BT=until_BT)
    mask = attention_mask(seq_len=2 * BLOCK, segment_ids_BT=segments_BT, attend_until_BT=until_BT, device=device)
    kernel: Callable[..., Tensor] = torch.compile(attend_blockwise, dynamic=False)
    is_grouped = num_heads != num_kv_heads
    both = kernel(q, k, v, blocks), F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=is_grouped)
    grads = [torch.autograd.grad(mixed.float().square().sum(), drawn) for mixed in both]
    return [[t.detach().float() for t in (mixed, *of_mixed)] for mixed, of_mixed in zip(both, grads, strict=True)]


def _packed_rows(device: torch.device) -> tuple[Tensor, Tensor]:
    """Return segments, two or four in a row of two blocks, and what may be read: the first begins with a prefix."""
    place_T = torch.arange(2 * BLOCK, device=device)
    segments_BT = torch.stack((place_T // (BLOCK // 2), place_T // (2 * BLOCK - BLOCK // 4)))
    return segments_BT, torch.where(place_T < BLOCK // 4, BLOCK // 4 - 1, place_T).expand(2, -1)
