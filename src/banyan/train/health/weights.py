"""Every weight's gradient and update, looked at every few steps on a sample of its entries."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from banyan.train.health.signals import Finding
from banyan.train.layer_rates import LayerRates

SAMPLE = 512  # entries of each weight
MIN_UPDATE_LOOKS = 2  # in a row without any change: frozen
MAX_RELATIVE_UPDATE = 0.1
MAX_GRADIENT_RATIO = 100.0  # to the middle one of its kind
_LOOKS = 3  # in a row, for what is only unusual
_WARM_UP_STEPS = 100  # fresh weights are small, and move much
_SMALLEST_SIZE = 1e-3  # of a weight, root mean square, whose relative update means something


class WeightProbe:
    """Takes a sample of all weights before a step and compares it with the same sample after."""

    def __init__(self, model: nn.Module, *, layer_rates: LayerRates | None = None) -> None:
        self._named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
        self._views = [_sample_of(parameter) for _, parameter in self._named]
        self._lengths = [len(view) for view in self._views]
        self._first_steps = [1 if layer_rates is None else layer_rates.first_step_of(name) for name, _ in self._named]
        self._before: Tensor | None = None
        self._still = [0] * len(self._named)  # looks in a row without a change, by weight
        self._large = [0] * len(self._named)
        self._steep = [0] * len(self._named)

    def before_step(self) -> None:
        """Remember the sample."""
        self._before = torch.cat(self._views)

    def forget(self) -> None:
        """Drop the sample: the step was not made."""
        self._before = None

    def after_step(self, *, step: int) -> list[Finding]:
        """Return what the step that was just made tells about the weights."""
        if self._before is None:
            return []
        before, self._before = self._before, None
        changes = _sizes_of(torch.cat(self._views) - before, self._lengths)
        sizes = _sizes_of(before, self._lengths)
        gradients = self._gradient_sizes()
        findings = self._frozen(changes, gradients, step=step)
        if step > _WARM_UP_STEPS:
            findings += self._too_large(changes, sizes) + self._too_steep(gradients)
        return findings

    def _frozen(self, changes: Sequence[float], gradients: Sequence[float | None], *, step: int) -> list[Finding]:
        """A weight stands still; one that only some batches reach does so rightly while its gradient is empty."""
        findings = []
        for index, (name, parameter) in enumerate(self._named):
            is_shared = name.startswith(("blocks.", "final_norm", "embedding."))
            may_rest = not is_shared and gradients[index] in (None, 0.0)
            is_still = changes[index] == 0.0 and not (may_rest and parameter.requires_grad)
            is_still = is_still and step >= self._first_steps[index]
            self._still[index] = self._still[index] + 1 if is_still else 0
            if self._still[index] == MIN_UPDATE_LOOKS:
                findings.append(Finding(signal="frozen_layer", value=0.0, threshold=0.0, where=name))
        return findings

    def _too_large(self, changes: Sequence[float], sizes: Sequence[float]) -> list[Finding]:
        findings = []
        for index, (name, parameter) in enumerate(self._named):
            ratio = changes[index] / sizes[index] if sizes[index] > _SMALLEST_SIZE else 0.0
            is_large = parameter.ndim >= 2 and ratio > MAX_RELATIVE_UPDATE
            self._large[index] = self._large[index] + 1 if is_large else 0
            if self._large[index] == _LOOKS:
                finding = Finding(signal="update_too_large", value=ratio, threshold=MAX_RELATIVE_UPDATE, where=name)
                findings.append(finding)
        return findings

    def _too_steep(self, gradients: Sequence[float | None]) -> list[Finding]:
        """Compare the matrices inside the blocks with each other."""
        inside = [
            (index, length)
            for index, ((name, parameter), length) in enumerate(zip(self._named, gradients, strict=True))
            if length and parameter.ndim == 2 and name.startswith("blocks.")
        ]
        if not inside:
            return []
        middle = statistics.median(length for _, length in inside)
        findings = []
        for index, length in inside:
            is_steep = length > MAX_GRADIENT_RATIO * middle
            self._steep[index] = self._steep[index] + 1 if is_steep else 0
            if self._steep[index] == _LOOKS:
                name, ratio = self._named[index][0], length / middle
                findings.append(Finding(signal="layer_gradient", value=ratio, threshold=MAX_GRADIENT_RATIO, where=name))
        return findings

    def _gradient_sizes(self) -> list[float | None]:
        """Return the length of each weight's gradient per entry; None where there is none."""
        present = [(index, parameter.grad) for index, (_, parameter) in enumerate(self._named)]
        gradients = [_local(gradient) for _, gradient in present if gradient is not None]
        lengths = iter(torch.stack(torch._foreach_norm(gradients)).tolist() if gradients else [])
        return [
            None if gradient is None else next(lengths) / max(1, gradient.numel()) ** 0.5 for _, gradient in present
        ]


def _sample_of(parameter: nn.Parameter) -> Tensor:
    """Return a view of entries spread over the weight; it follows the weight as it changes."""
    flat = _local(parameter.detach()).flatten()
    return flat[:: max(1, len(flat) // SAMPLE)][:SAMPLE]


def _local(tensor: Tensor) -> Tensor:
    """Return this process's part of a weight that several share."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def _sizes_of(samples: Tensor, lengths: Sequence[int]) -> list[float]:
    """Return the root mean square of each stretch."""
    starts = np.cumsum([0, *lengths[:-1]])
    squares = np.add.reduceat(samples.float().square().cpu().numpy(), starts)
    sizes: list[float] = np.sqrt(squares / np.array(lengths)).tolist()
    return sizes
