"""What is cheap to compute is not kept for the backward pass, but made again when that asks for it.

A matrix product keeps what goes into it. Where that is a norm or a bend of something that is kept as well, both lie in
memory. Made again by the same routine from the same numbers, it is the same to the last bit.
By sizes, 216 of the 582 MiB of activations of GPT-2's 124 million weights and 1,024 tokens; measured, 61 to 110 MiB
less at the peak of such a step, whose time did not change by more than it differs from step to step (0.4 %).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

import torch
from torch import Tensor

Maker: TypeAlias = Callable[[], Tensor]


@contextmanager
def made_again(values: Tensor, make: Maker) -> Iterator[None]:
    """Let no operation inside the block keep `values`; in the backward pass, `make` gives them.

    What `make` holds on to must be kept in any case, and must not change until then.
    """
    place, num_numbers = values.data_ptr(), values.numel()  # not the tensor itself, which would be kept with them

    def pack(saved: Tensor) -> Tensor | tuple[Maker, torch.Size]:
        is_it = saved.data_ptr() == place and saved.numel() == num_numbers and saved.is_contiguous()
        return (make, saved.shape) if is_it else saved

    with torch.autograd.graph.saved_tensors_hooks(pack, _unpack):
        yield


def _unpack(packed: Tensor | tuple[Maker, torch.Size]) -> Tensor:
    if isinstance(packed, Tensor):
        return packed
    make, shape = packed
    with torch.no_grad():
        return make().view(shape)
