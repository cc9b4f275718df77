"""Summing gradients over the ranks, and the length of all of them together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn

from banyan.train.distributed.divided import DATA, SHARD, TENSOR, DividedModel, as_divided, local, num_pieces

BUCKET_BYTES = 64 << 20  # summed at once: large enough for the full speed of a link, small beside the model


@torch.no_grad()
def sum_gradients(parameters: Sequence[nn.Parameter], *, group: dist.ProcessGroup | None = None) -> list[Tensor]:
    """Give every weight the sum of its gradients over a group of ranks, and return those sums.

    A rank whose rows did not reach a weight adds nothing; a weight that no rank has reached keeps no gradient, as it
    would have none in one process.
    """
    summed = []
    for bucket in _buckets(parameters):
        # One more number per weight says how many ranks have reached it.
        pieces = [_flat_gradient(parameter) for parameter in bucket]
        reached = pieces[0].new_tensor([float(parameter.grad is not None) for parameter in bucket])
        flat = torch.cat([*pieces, reached])
        dist.all_reduce(flat, group=group)
        *sums, counts = torch.split(flat, [piece.numel() for piece in pieces] + [len(bucket)])
        for parameter, piece, count in zip(bucket, sums, counts.tolist(), strict=True):
            piece = piece.view_as(local(parameter))
            parameter.grad = as_divided(piece, parameter) if count else None
            if count:
                summed.append(piece)
    return summed


@torch.no_grad()
def collect_divided(divided: DividedModel) -> tuple[list[Tensor], Tensor]:
    """Sum the gradients of a divided model; return the pieces that lie here, and the length of all of them together."""
    named = {name: parameter for name, parameter in divided.parameters.items() if parameter.requires_grad}
    sum_gradients([p for name, p in named.items() if not divided.is_reduced(name)], group=divided.group(DATA, SHARD))
    sum_gradients([p for name, p in named.items() if divided.has_part_of_gradient(name)], group=divided.group(TENSOR))
    _forget_unreached_head(named)
    reached = [parameter for parameter in named.values() if parameter.grad is not None]
    gradients = [local(parameter.grad) for parameter in reached if parameter.grad is not None]
    copies = [dist.get_world_size() / num_pieces(parameter) for parameter in reached]
    squares = torch.stack(torch._foreach_norm(gradients)).square()
    square = (squares / squares.new_tensor(copies)).sum()
    dist.all_reduce(square)
    return gradients, square.sqrt()


def _forget_unreached_head(named: dict[str, nn.Parameter]) -> None:
    """Leave an output layer that no row of the batch used without a gradient, as in one process.

    Where weights are divided, all ranks must bring a gradient of it; one that nobody used is zero on all of them.
    """
    head = named.get("word_head.weight")
    if head is None or head.grad is None:
        return
    largest = local(head.grad).abs().sum()
    dist.all_reduce(largest)
    if largest == 0:
        head.grad = None


def _flat_gradient(parameter: nn.Parameter) -> Tensor:
    if parameter.grad is None:
        return torch.zeros_like(local(parameter)).flatten()
    return local(parameter.grad).flatten()


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
