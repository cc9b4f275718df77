"""Layers without weights of their own drawing, and linear ones whose product another routine can carry out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Product: TypeAlias = Callable[[Tensor, Tensor, Tensor | None], Tensor]  # (input, weight, bias) → input · weightᵀ + bias


class BareLinear(nn.Linear):
    """PyTorch's linear layer without weights of its own drawing: `init_weights` draws them, or a file has them.

    Measured: PyTorch's drawing on the meta device loads its compiler, which takes 2 seconds of every start.
    """

    def reset_parameters(self) -> None:
        """Draw nothing."""


class BareEmbedding(nn.Embedding):
    """PyTorch's table of embeddings, as bare as `BareLinear`."""

    def reset_parameters(self) -> None:
        """Draw nothing."""


class Linear(BareLinear):
    """A bare linear layer with an exchangeable product; weights, names and results stay what they are."""

    product: Product = staticmethod(F.linear)
    adapters: nn.ModuleDict | None  # what others add to its output, by adapter; `low_rank.through` runs them

    def __init__(
        self, in_features: int, out_features: int, *, bias: bool = True, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__(in_features, out_features, bias=bias, dtype=dtype)
        self.adapters = None

    def forward(self, input: Tensor) -> Tensor:  # named as in torch
        """Shapes: input (..., in); returns (..., out)."""
        return self.product(input, self.weight, self.bias)


@runtime_checkable
class HasOutputProduct(Protocol):
    """A model whose output layer is a table it shares with its embedding, and so no layer of its own."""

    output_product: Product


def use_product(model: nn.Module, product: Product) -> None:
    """Let all linear layers inside a model, and its output layer, use one routine."""
    for module in model.modules():
        if isinstance(module, Linear):
            module.product = product
        elif isinstance(module, HasOutputProduct):
            module.output_product = product
