"""Muon: momentum whose steps are made orthogonal, for the matrices inside the blocks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor, nn

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # steep at zero: five rounds bring all singular values near 1


def orthogonalise(matrices_NRC: Tensor, *, num_rounds: int = 5) -> Tensor:
    """Replace the singular values of each matrix by values near 1 (about 0.7 to 1.2), keeping its directions.

    Shapes: (N, R, C) to the same. float32 on a CPU, where bfloat16 is slower; bfloat16 elsewhere.
    Source: Jordan et al. 2024, Muon; a quintic Newton-Schulz iteration.
    """
    a, b, c = NEWTON_SCHULZ
    is_tall = matrices_NRC.shape[-2] > matrices_NRC.shape[-1]
    x = matrices_NRC.mT if is_tall else matrices_NRC  # the smaller Gram matrix
    x = x if x.device.type == "cpu" else x.bfloat16()
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(num_rounds):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if is_tall else x).to(matrices_NRC.dtype)


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised, with decoupled weight decay. Only for matrices (R, C).

    A weight that holds several matrices one above the other (queries, keys and values; gate and value) is made
    orthogonal part by part: `parts` names their row counts. Each step has size sqrt(max(1, R / C)) per singular value,
    so that one learning rate fits all widths.
    Source: Jordan et al. 2024 (kellerjordan.github.io/posts/muon).
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        *,
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        parts: dict[Tensor, tuple[int, ...]] | None = None,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self._parts = parts or {}

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Move the weights once."""
        assert closure is None, "Muon takes no closure"
        for group in self.param_groups:
            self._step_group(group)
        return None

    def _step_group(self, group: dict[str, Any]) -> None:
        params = [param for param in group["params"] if param.grad is not None]
        if not params:
            return
        gradients = [param.grad for param in params]
        momenta = [self._momentum_of(param) for param in params]
        torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
        wishes = torch._foreach_lerp(gradients, momenta, group["momentum"])  # Nesterov: look one step ahead
        torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
        by_shape: dict[torch.Size, list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for param, wish in zip(params, wishes, strict=True):
            rows = list(self._parts.get(param, (len(param),)))
            for weight, direction in zip(torch.split(param, rows), torch.split(wish, rows), strict=True):
                by_shape[weight.shape].append((weight, direction))
        for (num_rows, num_columns), pairs in by_shape.items():
            updates = orthogonalise(torch.stack([direction for _, direction in pairs]))
            size = group["lr"] * max(1.0, num_rows / num_columns) ** 0.5
            torch._foreach_add_([weight for weight, _ in pairs], list(updates.unbind()), alpha=-size)

    def _momentum_of(self, param: nn.Parameter) -> Tensor:
        state = self.state[param]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(param)
        momentum: Tensor = state["momentum"]
        return momentum
