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
    """The average of weights that learn. What the model does not hold, its weights or their average, lies here."""

    def __init__(self, params: Mapping[str, nn.Parameter], *, config: AverageConfig, num_steps: int) -> None:
        self._params = params
        self._aside = {name: param.detach().clone() for name, param in params.items()}
        self._decay = config.decay
        self._start_step = round(config.start_fraction * num_steps)

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after step 1, 2, …

        The memory grows as the average does, so that the first weights, which know nothing, are soon forgotten.
        """
        num_steps = max(0, step - self._start_step)
        decay = min(self._decay, num_steps / (num_steps + 10))
        torch._foreach_lerp_(list(self._aside.values()), list(self._params.values()), 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Give the model the average for the time of the block; afterwards its weights are bitwise as they were."""
        self.exchange()
        try:
            yield
        finally:
            self.exchange()

    @torch.no_grad()
    def exchange(self) -> None:
        """Give the model what lies aside, and put aside what it held."""
        for name, param in self._params.items():
            held = param.clone()
            param.copy_(self._aside[name])
            self._aside[name].copy_(held)

    def tensors(self) -> dict[str, Tensor]:
        """Return what lies aside, by the name of the weight."""
        return dict(self._aside)

    @torch.no_grad()
    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Put aside what `tensors` returned.

        Raises: CheckpointError if a weight is missing, or has another shape.
        """
        for name, aside in self._aside.items():
            saved = tensors.get(name)
            if saved is None or saved.shape != aside.shape:
                raise CheckpointError(
                    f"the checkpoint holds no second weight {name} of shape {tuple(aside.shape)}, for train.average.",
                    hint="a run cannot begin to average, nor stop it, once it has saved",
                )
            aside.copy_(saved)
