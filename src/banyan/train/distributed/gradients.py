"""Summing gradients over the ranks that hold the same weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn

BUCKET_BYTES = 64 << 20  # summed at once: large enough for the full speed of a link, small beside the model


def sum_gradients(parameters: Sequence[nn.Parameter], *, group: dist.ProcessGroup | None = None) -> list[Tensor]:
    """Give every weight the sum of its gradients over a group of ranks, and return those sums.

    A rank whose rows did not reach a weight adds nothing; a weight that no rank has reached keeps no gradient, as it
    would have none in one process.
    """
    summed = []
    for bucket in _buckets(parameters):
        # One more number per weight says how many ranks have reached it.
        reached = bucket[0].new_tensor([float(parameter.grad is not None) for parameter in bucket])
        flat = torch.cat([_flat_gradient(parameter) for parameter in bucket] + [reached])
        dist.all_reduce(flat, group=group)
        *pieces, counts = torch.split(flat, [parameter.numel() for parameter in bucket] + [len(bucket)])
        for parameter, piece, count in zip(bucket, pieces, counts.tolist(), strict=True):
            parameter.grad = piece.view_as(parameter) if count else None
            if parameter.grad is not None:
                summed.append(parameter.grad)
    return summed


def _flat_gradient(parameter: nn.Parameter) -> Tensor:
    return torch.zeros_like(parameter).flatten() if parameter.grad is None else parameter.grad.flatten()


def _buckets(parameters: Sequence[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Yield the weights in groups of one number format and a limited size."""
    bucket: list[nn.Parameter] = []
    for parameter in parameters:
        size = sum(p.numel() * p.element_size() for p in bucket)
        if bucket and (size >= BUCKET_BYTES or bucket[0].dtype != parameter.dtype):
            yield bucket
            bucket = []
        bucket.append(parameter)
    if bucket:
        yield bucket
