"""Muon: momentum whose steps are made orthogonal, for the matrices inside the blocks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, overload

import torch
from torch import Tensor, nn

from banyan.train.cautious import decay_where_agreed

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # steep at zero: five rounds bring all singular values near 1
ROW_MEMORY = 0.95  # of the mean square of each row of the steps
_TINY = 1e-10  # keeps a row that never moved from a division by zero


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


def even_rows(steps_NRC: Tensor, row_squares_NR1: Tensor) -> Tensor:
    """Divide each row by its usual size, and keep the size of the whole step.

    Shapes: (N, R, C) to the same; `row_squares` (N, R, 1) is brought up to date in place.
    Source: Li et al. 2025, NorMuon (arXiv 2510.05491).
    """
    row_squares_NR1.lerp_(steps_NRC.square().mean(dim=-1, keepdim=True), 1 - ROW_MEMORY)
    evened: Tensor = steps_NRC * row_squares_NR1.clamp_min(_TINY).rsqrt()
    before, after = (torch.linalg.matrix_norm(tensor, keepdim=True) for tensor in (steps_NRC, evened))
    return evened.mul_(before / after.clamp_min(_TINY))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Matrix:
    """One matrix to move: a weight, or a part of one that holds several."""

    weight: Tensor
    wish: Tensor  # where the momentum points
    row_squares: Tensor | None


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised, with decoupled weight decay. Only for matrices (R, C).

    A weight that holds several matrices one above the other (queries, keys and values; gate and value) is made
    orthogonal part by part: `parts` names their row counts. Each step has size sqrt(max(1, R / C)) per singular value,
    so that one learning rate fits all widths. With `is_cautious` a weight decays only where the step makes it smaller
    too; with `normalise_rows` the rows of a step become about equally large.
    Source: Jordan et al. 2024 (kellerjordan.github.io/posts/muon).
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        *,
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        is_cautious: bool = False,
        normalise_rows: bool = False,
        parts: dict[Tensor, tuple[int, ...]] | None = None,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self._is_cautious = is_cautious
        self._normalise_rows = normalise_rows
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
        gradients = {param: param.grad for param in group["params"] if param.grad is not None}
        if not gradients:
            return
        by_shape: dict[torch.Size, list[_Matrix]] = defaultdict(list)
        for param, wish in self._wishes(gradients, momentum=group["momentum"]):
            for matrix in self._matrices(param, wish):
                by_shape[matrix.weight.shape].append(matrix)
        for matrices in by_shape.values():
            self._move(matrices, rate=group["lr"], decay=group["weight_decay"])

    def _wishes(self, gradients: dict[Tensor, Tensor], *, momentum: float) -> Iterable[tuple[Tensor, Tensor]]:
        """Bring the momenta up to date and return where each weight should go."""
        values = list(gradients.values())
        momenta = [self._remembered(param, "momentum", param.shape) for param in gradients]
        torch._foreach_lerp_(momenta, values, 1 - momentum)
        return zip(gradients, torch._foreach_lerp(values, momenta, momentum), strict=True)  # Nesterov: one step ahead

    def _matrices(self, param: Tensor, wish: Tensor) -> list[_Matrix]:
        counts = list(self._parts.get(param, (len(param),)))
        squares: list[Tensor | None] = [None] * len(counts)
        if self._normalise_rows:
            squares = list(torch.split(self._remembered(param, "row_squares", (len(param), 1)), counts))
        return [
            _Matrix(weight=weight, wish=direction, row_squares=square)
            for weight, direction, square in zip(
                torch.split(param, counts), torch.split(wish, counts), squares, strict=True
            )
        ]

    def _move(self, matrices: list[_Matrix], *, rate: float, decay: float) -> None:
        """Move matrices of one shape."""
        weights = [matrix.weight for matrix in matrices]
        num_rows, num_columns = weights[0].shape
        steps_NRC = orthogonalise(torch.stack([matrix.wish for matrix in matrices]))
        if squares := [matrix.row_squares for matrix in matrices if matrix.row_squares is not None]:
            squares_NR1 = torch.stack(squares)
            steps_NRC = even_rows(steps_NRC, squares_NR1)
            torch._foreach_copy_(squares, list(squares_NR1.unbind()))
        steps = list(steps_NRC.unbind())
        if decay and self._is_cautious:
            for weight, step in zip(weights, steps, strict=True):
                decay_where_agreed(weight, step, amount=rate * decay)
        elif decay:
            torch._foreach_mul_(weights, 1 - rate * decay)
        torch._foreach_add_(weights, steps, alpha=-rate * max(1.0, num_rows / num_columns) ** 0.5)

    def _remembered(self, param: Tensor, key: str, shape: tuple[int, ...]) -> Tensor:
        state = self.state[param]
        if key not in state:
            state[key] = param.new_zeros(shape)
        memory: Tensor = state[key]
        return memory
