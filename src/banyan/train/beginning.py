"""A copy of the first weights of a run, in memory: what it goes back to before it has saved anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn


class TensorHolder(Protocol):
    """Something whose memory goes back together with the weights: an optimizer."""

    def tensors(self) -> Mapping[str, Tensor]:
        """Return all it remembers, by name."""

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on with what `tensors` returned."""


class Beginning:
    """Everything as it is before the first step. A resumed run has it too: its model is drawn anew before it loads."""

    def __init__(self, model: nn.Module, optimizer: TensorHolder, *, statistics: Mapping[str, Any]) -> None:
        self._model, self._optimizer = model, optimizer
        self.statistics = statistics  # what the watch over the run's health thinks usual then: nothing yet
        self._weights = {name: value.detach().clone() for name, value in model.state_dict().items()}
        self._held = {name: value.clone() for name, value in optimizer.tensors().items()}

    def bring_back(self) -> None:
        """Give the model its first weights, and the optimizer what it remembered then."""
        with torch.no_grad():
            for name, value in self._model.state_dict().items():
                value.copy_(self._weights[name])
        forget(self._optimizer)
        self._optimizer.load_tensors(self._held)


def forget(holder: TensorHolder) -> None:
    """Make all that is remembered zero: where a run goes back to, some of it may not have been there yet."""
    holder.load_tensors({name: torch.zeros_like(value) for name, value in holder.tensors().items()})


def weight_bytes(model: nn.Module) -> int:
    """Return the size of such a copy."""
    return sum(value.numel() * value.element_size() for value in model.state_dict().values())
