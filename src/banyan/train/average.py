"""A moving average of the weights: smoother than any one step's, and what a run evaluates, keeps and serves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from banyan.core.config import config
from banyan.core.errors import CheckpointError, ConfigError


@config
class AverageConfig:
    """How long the average remembers, and when it begins."""

    decay: float = 0.999  # share of the average that a step keeps; about 1 / (1 - decay) steps are remembered
    start_fraction: float = 0.0  # of all steps; before, the average is the weights themselves

    def __post_init__(self) -> None:
        for name in ("decay", "start_fraction"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"train.average.{name}={getattr(self, name)} must be at least 0 and below 1.")


class WeightAverage:
    """The average of the weights that a model learns; frozen ones are what they are."""

    def __init__(self, model: nn.Module, *, config: AverageConfig, num_steps: int) -> None:
        self._params = {name: param for name, param in model.named_parameters() if param.requires_grad}
        self._averages = {name: param.detach().clone() for name, param in self._params.items()}
        self._decay = config.decay
        self._start_step = round(config.start_fraction * num_steps)

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after step 1, 2, …

        The memory grows as the average does, so that the first weights, which know nothing, are soon forgotten.
        """
        num_steps = max(0, step - self._start_step)
        decay = min(self._decay, num_steps / (num_steps + 10))
        torch._foreach_lerp_(list(self._averages.values()), list(self._params.values()), 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Give the model the average for the time of the block; afterwards its weights are bitwise as they were."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, param in self._params.items():
            learned = param.clone()
            param.copy_(self._averages[name])
            self._averages[name].copy_(learned)

    def training_weights(self) -> dict[str, Tensor]:
        """Return the weights that go on learning, by name. Not inside `in_place`."""
        return {name: param.detach() for name, param in self._params.items()}

    @torch.no_grad()
    def restore(self, training_weights: Mapping[str, Tensor]) -> None:
        """Take the model's weights, just loaded, for the average, and give the model those that go on learning.

        Raises: CheckpointError if a weight is missing, or has another shape.
        """
        for name, param in self._params.items():
            saved = training_weights.get(name)
            if saved is None or saved.shape != param.shape:
                raise CheckpointError(f"the checkpoint holds no training weight {name} of shape {tuple(param.shape)}.")
            self._averages[name].copy_(param)
            param.copy_(saved)
