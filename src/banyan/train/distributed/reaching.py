"""A loss whose graph reaches what every rank must have a gradient of, even where its own rows do not."""

from __future__ import annotations

import dataclasses
from typing import Any

from torch import Tensor

from banyan.model.transformer import Transformer
from banyan.train.losses import TaskLosses
from banyan.train.step import LossFunction


def reaching_losses(loss_function: LossFunction, model: Any, batch: Any) -> TaskLosses:
    """Return the losses of a batch, connected to the trunk and the output layer of a Transformer in any case.

    Ranks exchange gradients in step, so none may leave one out. The connection is a sum over no elements: it adds
    nothing, and no number that is not finite.
    """
    if not isinstance(model, Transformer):
        return loss_function(model, batch)
    hidden: list[Tensor] = []
    handle = model.register_forward_hook(lambda module, inputs, output: hidden.append(output))
    try:
        losses = loss_function(model, batch)
    finally:
        handle.remove()
    nothing = sum((output[:0].sum() for output in hidden), losses.loss_sums.new_zeros(()))
    if model.word_head is not None and hidden:
        nothing = nothing + model.logits(hidden[-1][:0]).sum()
    return dataclasses.replace(losses, loss_sums=losses.loss_sums + nothing.to(losses.loss_sums.dtype))
