"""Cautious weight decay: a weight decays only where the step makes it smaller too.

Plain decay also pulls at weights that the gradient wants larger; there the two undo each other's work.
Source: Chen et al. 2025 (arXiv 2510.12402).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, overload

import torch
from torch import Tensor


def decay_where_agreed(weight: Tensor, step: Tensor, *, amount: float) -> None:
    """Shrink, in place, the entries that have the sign of what the step will take off them."""
    weight.addcmul_(weight, (weight * step > 0).to(weight.dtype), value=-amount)


class CautiousAdamW(torch.optim.AdamW):
    """AdamW with cautious decay. The sign of a step is that of the mean gradient, known before the update is made."""

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Move the weights once."""
        assert closure is None, "CautiousAdamW takes no closure"
        decays = [group["weight_decay"] for group in self.param_groups]
        for group in self.param_groups:
            self._decay(group)
            group["weight_decay"] = 0.0  # done already: the update shall not decay once more
        try:
            super().step()
        finally:
            for group, decay in zip(self.param_groups, decays, strict=True):
                group["weight_decay"] = decay
        return None

    def _decay(self, group: dict[str, Any]) -> None:
        amount = group["lr"] * group["weight_decay"]
        for param in group["params"] if amount else ():
            if param.grad is not None:
                mean = self.state.get(param, {}).get("exp_avg")
                step = param.grad if mean is None else mean.lerp(param.grad, 1 - group["betas"][0])
                decay_where_agreed(param, step, amount=amount)
