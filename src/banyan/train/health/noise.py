"""How noisy a run's gradient is: by how much a larger batch would make its steps better."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from banyan.train.health.statistics import Usual
from banyan.train.losses import TaskLosses
from banyan.train.step import LossFunction

_LOOKS = 8  # whose average is told; one alone says little


class GradientNoise:
    """Compares the gradient of a step's first micro-batch with that of the whole step.

    The noise scale is the batch at which noise and gradient are equally long: far smaller batches take small steps
    forward, far larger ones give little more.
    Source: McCandlish et al. 2018 (arXiv 1812.06162), appendix A.1: the simple noise scale, from two batch sizes.
    """

    def __init__(self, model: nn.Module) -> None:
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._first: Tensor | None = None  # squared length of the first micro-batch's gradient
        self._num_parts = 0  # micro-batches of that step
        self._noise, self._signal = Usual(window=_LOOKS), Usual(window=_LOOKS)

    def listening(self, loss_function: LossFunction) -> LossFunction:
        """Return the loss function for one step: when it is called again, the gradient so far is the first part's."""
        self._num_parts, self._first = 0, None

        def computed(model: Any, batch: Any) -> TaskLosses:
            self._num_parts += 1
            if self._num_parts == 2:
                gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
                self._first = nn.utils.get_total_norm(gradients).square()
            return loss_function(model, batch)

        return computed

    def after_step(self, *, grad_norm: float) -> float | None:
        """Take in a step, if it was listened to; after every eighth one, return the noise scale in batches."""
        if self._first is None:
            return None
        num_parts, part, whole = self._num_parts, self._num_parts**2 * float(self._first), grad_norm**2  # of means
        self._first = None
        if not math.isfinite(part + whole):
            return None
        self._noise.add((part - whole) / (num_parts - 1))
        self._signal.add((num_parts * whole - part) / (num_parts - 1))
        if self._noise.count % _LOOKS or self._signal.mean <= 0:
            return None
        return self._noise.mean / self._signal.mean

    def state(self) -> dict[str, Any]:
        """Return everything, ready for JSON."""
        return {"noise": self._noise.state(), "signal": self._signal.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on with what `state` returned."""
        self._noise, self._signal = Usual(**state["noise"]), Usual(**state["signal"])
