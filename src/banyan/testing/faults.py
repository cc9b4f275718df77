"""Things that go wrong in training, on purpose: what the health watch must name and survive."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from banyan.data.batch import Batch, BatchLoader, TrainableBatch
from banyan.model.transformer import Transformer
from banyan.train.callbacks import Callback, StepRecord
from banyan.train.losses import TaskLosses
from banyan.train.step import LossFunction

Change = Callable[[Batch, int], Batch]  # (batch, how many batches came before it) → what comes instead


class FaultyLoader:
    """Gives what another loader gives, with some of the batches changed; counted over the stream of the data."""

    def __init__(self, loader: BatchLoader, change: Change, *, first: int, num: int = 20) -> None:
        self._loader = loader
        self._change = change
        self._bad = range(first, first + num)
        self._num_given = 0

    def next_batch(self, **sizes: Any) -> TrainableBatch:
        """Return the next batch, changed if it is its turn."""
        batch = self._loader.next_batch(**sizes)
        self._num_given += 1
        assert isinstance(batch, Batch)
        return self._change(batch, self._num_given) if self._num_given in self._bad else batch

    def state(self) -> Mapping[str, Any]:
        """Return the place in the stream."""
        return {"loader": self._loader.state(), "num_given": self._num_given}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue where `state` was taken."""
        self._loader.restore(state["loader"])
        self._num_given = state["num_given"]


def shuffle_targets(batch: Batch, number: int) -> Batch:
    """Give every target to another position of the same task."""
    targets, counts = batch.targets.clone(), batch.loss_weights > 0
    rng = np.random.default_rng(number)
    for task in sorted(set(batch.task_ids[counts].tolist())):
        chosen = counts & (batch.task_ids == task)
        order = torch.from_numpy(rng.permutation(int(chosen.sum())))
        targets[chosen] = targets[chosen][order]
    return replace(batch, targets=targets)


def mask_all(batch: Batch, number: int) -> Batch:
    """Leave no position that carries loss."""
    return replace(batch, loss_weights=torch.zeros_like(batch.loss_weights))


class RepeatOne:
    """Gives the first batch it sees again and again."""

    def __init__(self) -> None:
        self._first: Batch | None = None

    def __call__(self, batch: Batch, number: int) -> Batch:
        """Return the first batch."""
        self._first = self._first or batch
        return self._first


def permute_ids(*, num_words: int) -> Change:
    """Return a change that encodes words with another vocabulary: every id means another word."""
    order = torch.from_numpy(np.random.default_rng(0).permutation(num_words))

    def change(batch: Batch, number: int) -> Batch:
        return replace(batch, token_ids=_renamed(batch.token_ids, order), targets=_renamed(batch.targets, order))

    return change


def _renamed(ids: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    is_word = (ids >= 0) & (ids < len(order))
    return torch.where(is_word, order[ids.clamp(0, len(order) - 1)], ids)


def raise_ids(*, vocab_size: int) -> Change:
    """Return a change that brings ids the model does not have."""

    def change(batch: Batch, number: int) -> Batch:
        return replace(batch, token_ids=torch.where(batch.token_ids % 7 == 0, vocab_size + 5, batch.token_ids))

    return change


def collapse_codes(*, first_image_id: int) -> Change:
    """Return a change after which every picture is made of two codes."""

    def change(batch: Batch, number: int) -> Batch:
        def collapsed(ids: torch.Tensor) -> torch.Tensor:
            return torch.where(ids >= first_image_id, first_image_id + ids % 2, ids)

        return replace(batch, token_ids=collapsed(batch.token_ids), targets=collapsed(batch.targets))

    return change


def poisoned(loss_function: LossFunction, *, call: int) -> LossFunction:
    """Return a loss function that is not a number in one of its calls."""
    num_calls = 0

    def loss(model: Any, batch: Any) -> TaskLosses:
        nonlocal num_calls
        num_calls += 1
        losses = loss_function(model, batch)
        factor = float("nan") if num_calls == call else 1.0
        return TaskLosses(loss_sums=losses.loss_sums * factor, weight_sums=losses.weight_sums)

    return loss


class AfterStep(Callback):
    """Does something to a run once, after a step."""

    def __init__(self, step: int, action: Callable[[], None]) -> None:
        self._step = step
        self._action: Callable[[], None] | None = action

    def on_step(self, record: StepRecord) -> None:
        """Do it, if it is time."""
        if record.step == self._step and self._action is not None:
            action, self._action = self._action, None
            action()


def freeze_layer(model: Transformer, *, layer: int) -> Callable[[], None]:
    """Return what stops a layer's feed-forward part from learning."""

    def freeze() -> None:
        for parameter in model.blocks[layer].feed_forward.parameters():  # type: ignore[union-attr]
            parameter.requires_grad_(False)

    return freeze
