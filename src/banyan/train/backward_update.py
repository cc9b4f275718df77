"""Weights that move during the backward pass: each as soon as its gradient is known, which is then dropped.

All gradients together take as much memory as the weights. Here those of one layer exist at a time. The price: nobody
sees all gradients before the first weight moves, so a gradient is clipped by the length of the step before.
Source: Lv et al. 2023 (LOMO, arXiv 2306.09782) for the order; AdamW and Muon instead of its plain descent.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from banyan.core.errors import ConfigError
from banyan.train.config import TrainConfig
from banyan.train.optimizer import ModelOptimizer
from banyan.train.tied_table import head_apart

_LENGTH = "gradient_length"  # of a weight in the last step; kept with what the optimizer remembers of it


class BackwardUpdate:
    """Moves the weights of a model while a backward pass runs.

    Alone, gradients are shortened as the last step's were: by `clip_norm` over the length of all of them. As that one
    may have been far shorter, no single weight's gradient stays longer than `clip_norm` either.
    """

    def __init__(self, model: nn.Module, optimizer: ModelOptimizer, *, clip_norm: float | None) -> None:
        self._model = model
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._optimizer = optimizer
        self._clip_norm = clip_norm
        self._lengths: list[float] = []  # of the gradients of this step, before clipping
        self._aside: dict[nn.Parameter, Tensor] = {}  # gradients of heads whose tables are embeddings too
        for module in model.modules():
            if isinstance(module, nn.Embedding):
                module.sparse = True  # of a gradient as large as the table, a batch fills but a few rows

    @property
    def earlier_norm(self) -> float:
        """The length of all gradients together in the last step that was made; 0 before there was one."""
        return math.hypot(*(float(length) for length in self._earlier_lengths()))

    @property
    def norm(self) -> float:
        """The length of all gradients together in this step, before clipping."""
        return math.hypot(*self._lengths)

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Keep aside, of losses computed inside the block, the gradient of a head whose table is the embedding too."""
        with head_apart(self._model, take=self._aside.__setitem__):
            yield

    @contextmanager
    def moving(self, *, scale: float = 1.0) -> Iterator[None]:
        """Let the backward passes inside the block move what they reach, with gradients made `scale` times as long."""
        factor = scale * self._shortening(self.earlier_norm)
        self._lengths = []
        for length in self._earlier_lengths():
            length.zero_()  # not every step reaches every weight
        move = partial(self._move, factor=factor)
        with ExitStack() as stack:
            for parameter in self._parameters:
                if parameter.requires_grad:
                    hook = parameter.register_post_accumulate_grad_hook(move)  # type: ignore[no-untyped-call]
                    stack.callback(hook.remove)
            yield
            for table, gradient in list(self._aside.items()):  # no gradient has come through its embedding
                del self._aside[table]
                table.grad = gradient
                self._move(table, factor=factor)

    @torch.no_grad()
    def _move(self, parameter: Tensor, *, factor: float) -> None:
        """Move one weight, unless its gradient is not a number."""
        assert isinstance(parameter, nn.Parameter) and parameter.grad is not None
        if parameter.grad.is_sparse:
            of_head = self._aside.pop(parameter, None)
            parameter.grad = parameter.grad.to_dense() if of_head is None else of_head.add_(parameter.grad)
        length = torch.linalg.vector_norm(parameter.grad)
        value = float(length)
        self._lengths.append(value)
        if math.isfinite(value):
            if (shorter := factor * self._shortening(factor * value)) != 1.0:
                parameter.grad.mul_(shorter)
            self._optimizer.move(parameter)
            self._optimizer.memory_of(parameter)[_LENGTH] = length
        parameter.grad = None

    def _earlier_lengths(self) -> list[Tensor]:
        memories = (self._optimizer.memory_of(parameter) for parameter in self._parameters)
        return [memory[_LENGTH] for memory in memories if _LENGTH in memory]

    def _shortening(self, norm: float) -> float:
        return 1.0 if self._clip_norm is None else min(1.0, self._clip_norm / (norm + 1e-6))


def backward_update(
    model: nn.Module, optimizer: ModelOptimizer, *, config: TrainConfig, world_size: int = 1
) -> BackwardUpdate | None:
    """Return what moves the weights during the backward pass, if a run's recipe asks for it.

    Raises: ConfigError if several processes train the model: each has but its own share of a gradient by then.
    """
    if not config.update_in_backward:
        return None
    if world_size > 1:
        raise ConfigError(
            f"train.update_in_backward=true cannot be had with {world_size} processes, which add up their gradients "
            "after the backward pass.",
            hint="set train.update_in_backward=false, and parallel.shard to divide gradients and optimizer instead",
        )
    return BackwardUpdate(model, optimizer, clip_norm=config.clip_norm)
