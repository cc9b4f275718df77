"""Banyan's contender in `time_to_loss.py`: a recipe's model, optimizer and schedule around the product's own step.

It learns from windows that do not overlap, each seen once an epoch. With `--max-seconds` the learning rate follows the
clock instead of the recipe's number of steps, and the run ends with the time.
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor

from banyan.core.config import config_from_mapping
from banyan.core.types import MaskKind, TokenSequence
from banyan.data.loader import MixtureLoader
from banyan.model.presets import model_config
from banyan.model.transformer import Transformer, count_parameters
from banyan.train.balance import balance_tasks
from banyan.train.config import TrainConfig
from banyan.train.configured_loss import configured_loss
from banyan.train.losses import joint_loss
from banyan.train.memory import keep_freed_memory
from banyan.train.optimizer import OptimizerConfig, build_optimizer
from banyan.train.precision import in_precision
from banyan.train.schedule import ScheduleConfig, learning_rate_factor
from banyan.train.step import train_step
from benchmarks.peers.text_trial import Trial, read_trial

TASK = "text"
CLOCK_TICKS = 10_000  # the parts of a run whose schedule follows the clock
FIRST_LOOK, LOOKS = 0.8, 8  # of a run with a number of steps: evaluated so often over its last fifth


class TextWindows:
    """The windows of one text, which do not overlap, as a source of training sequences."""

    task = TASK

    def __init__(self, text: Tensor, *, seq_len: int) -> None:
        self._text, self._seq_len = text, seq_len

    def __len__(self) -> int:
        return (len(self._text) - 1) // self._seq_len

    def __getitem__(self, index: int) -> TokenSequence:
        start = index * self._seq_len
        token_ids = self._text[start : start + self._seq_len + 1].tolist()
        return TokenSequence(
            task=TASK,
            token_ids=tuple(token_ids[:-1]),
            targets=tuple(token_ids[1:]),
            loss_weights=(1.0,) * self._seq_len,
            mask=MaskKind.CAUSAL,
        )

    def varied(self, sequence: TokenSequence, generator: np.random.Generator, *, index: int) -> TokenSequence:
        return sequence


class Schedule:
    """Where a run stands, by its steps or by the clock."""

    def __init__(self, trial: Trial, *, steps: int, config: ScheduleConfig) -> None:
        self._trial, self._steps, self._config = trial, steps, config
        self._follows_clock = math.isfinite(trial.max_seconds)

    def rate_factor(self, step: int) -> float:
        if not self._follows_clock:
            return learning_rate_factor(step, num_steps=self._steps, schedule=self._config)
        tick = 1 + int(CLOCK_TICKS * self._trial.clock.seconds / self._trial.max_seconds)
        return learning_rate_factor(min(tick, CLOCK_TICKS), num_steps=CLOCK_TICKS, schedule=self._config)

    def is_over(self, step: int) -> bool:
        return self._trial.clock.seconds >= self._trial.max_seconds if self._follows_clock else step >= self._steps

    def is_due(self, step: int) -> bool:
        """Whether this step's weights are scored: the first that may have reached the other's loss ends the race."""
        if self._follows_clock:
            return False
        interval = max(1, round((1 - FIRST_LOOK) * self._steps / LOOKS))
        return step >= FIRST_LOOK * self._steps and (self._steps - step) % interval == 0


def train(trial: Trial, recipe: dict[str, Any]) -> None:
    settings = config_from_mapping(TrainConfig, recipe["train"], source="train")
    sizes = {**recipe["model"], "vocab_size": trial.vocab_size, "max_seq_len": settings.seq_len}
    model = Transformer(model_config(sizes.pop("preset"), sizes))
    model.init_weights(torch.Generator().manual_seed(trial.seed))
    model.to(trial.device)
    optimizer = build_optimizer(model, config_from_mapping(OptimizerConfig, recipe["optimizer"], source="optimizer"))
    schedule_config = config_from_mapping(ScheduleConfig, recipe["schedule"], source="schedule")
    schedule = Schedule(trial, steps=settings.steps, config=schedule_config)
    loader = MixtureLoader(
        [TextWindows(trial.train, seq_len=settings.seq_len)],
        rates={TASK: 1.0},
        seq_len=settings.seq_len,
        rows_per_batch=settings.batch_seqs,
        pad_id=0,
        task_names=[TASK],
        seed=trial.seed,
    )
    loss = partial(joint_loss, task_heads=(None,))
    if trial.device == "cpu":
        loss_function = in_precision(loss, model=model, precision=settings.precision)
    else:  # compiled where a run of that length is
        loss_function = configured_loss(loss, model=model, config=settings)
    balance = balance_tasks([None], num_choices=[trial.vocab_size])

    def evaluate(step: int) -> None:
        model.eval()
        trial.evaluate(lambda token_ids: model.logits(model(token_ids)), step=step)
        model.train()

    model.train()
    step = 0
    while not schedule.is_over(step):
        step += 1
        optimizer.prepare_step(step, rate_factor=schedule.rate_factor(step))
        train_step(
            model,
            loader.next_batch(),
            optimizer=optimizer,
            loss_function=loss_function,
            balance=balance,
            accumulation_steps=settings.accumulation_steps,
            clip_norm=settings.clip_norm,
        )
        if schedule.is_due(step) and not schedule.is_over(step):
            evaluate(step)
    evaluate(step)
    num_tokens = step * settings.batch_seqs * settings.seq_len
    trial.finish(num_parameters=count_parameters(model), tokens=num_tokens)


if __name__ == "__main__":
    trial = read_trial()
    keep_freed_memory()
    train(trial, yaml.safe_load(Path(trial.recipe).read_text()))
