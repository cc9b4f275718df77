"""What a run is made of, put together from its configs: its steps, its saves, the watch over it, its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import cast

from torch import nn

from banyan.core.config import config_to_mapping
from banyan.core.types import HeadSpec
from banyan.data.batch import BatchLoader
from banyan.model.transformer import Transformer
from banyan.train.backward_update import backward_update
from banyan.train.balance import TaskBalance, default_balance
from banyan.train.balance_config import task_groups
from banyan.train.balance_methods import balance_method
from banyan.train.callbacks import Callback
from banyan.train.config import TrainConfig
from banyan.train.configured_loss import configured_loss
from banyan.train.conflicts import ConflictMonitor
from banyan.train.health.data import DataShape
from banyan.train.health.watch import HealthWatch
from banyan.train.layer_rates import LayerRates
from banyan.train.loss_plot import LossPlot
from banyan.train.losses import joint_loss
from banyan.train.optimizer import ModelOptimizer, OptimizerConfig
from banyan.train.ranks import Ranks
from banyan.train.recovery import Recovery
from banyan.train.run_files import EventsFile, MetricsFile, TensorBoard
from banyan.train.save_job import SavedParts
from banyan.train.saver import RunSaver
from banyan.train.schedule import ScheduleConfig
from banyan.train.state import WeightFiles
from banyan.train.step import LossFunction
from banyan.train.stepper import StepParts, Stepper


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSettings:
    """The configs of a run; every checkpoint names them."""

    train: TrainConfig
    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    seed: int


def step_parts(
    model: nn.Module,
    settings: RunSettings,
    *,
    loader: BatchLoader,
    task_names: Sequence[str],
    task_heads: Sequence[HeadSpec | None],
    balance: TaskBalance | None,
    loss_function: LossFunction | None,
    layer_rates: LayerRates | None,
    ranks: Ranks,
) -> StepParts:
    """Return what every step of a run is made with."""
    config, world_size = settings.train, ranks.world_size
    loss_function = loss_function or partial(joint_loss, task_heads=tuple(task_heads))
    optimizer = _optimizer_of(model, settings, layer_rates=layer_rates, ranks=ranks)
    balance = balance or default_balance(cast(Transformer, model), task_heads)
    return StepParts(
        model=model,
        loader=loader,
        optimizer=optimizer,
        loss_function=configured_loss(loss_function, model=model, config=config, world_size=world_size),
        balance=balance,
        config=config,
        schedule=settings.schedule,
        learning_rate=settings.optimizer.learning_rate,
        task_names=tuple(task_names),
        seed=settings.seed,
        ranks=ranks,
        update=backward_update(model, optimizer, config=config, world_size=world_size),
        balance_method=balance_method(config.balance, balance),
        task_groups=task_groups(config.balance, tuple(task_names), world_size=world_size),
        conflicts=_monitor_of(model, loss_function, config=config, num_tasks=balance.num_tasks, ranks=ranks),
    )


def _optimizer_of(
    model: nn.Module, settings: RunSettings, *, layer_rates: LayerRates | None, ranks: Ranks
) -> ModelOptimizer:
    """Return what moves the weights, each layer at its rate, with their average beside them where one is kept."""
    built = ranks.optimizer_of(model, settings.optimizer)
    if layer_rates is not None:
        built.differ_by_layer(layer_rates)
    if settings.train.average is not None:
        built.keep_average(settings.train.average, num_steps=settings.train.steps)
    return built


def _monitor_of(
    model: nn.Module, loss_function: LossFunction, *, config: TrainConfig, num_tasks: int, ranks: Ranks
) -> ConflictMonitor | None:
    """Return what looks for conflicts of the tasks, with a loss that is not compiled: its batches differ in size."""
    if ranks.world_size > 1:  # each has but its share of a batch, and perhaps of the weights
        return None
    return ConflictMonitor(model, loss_function=loss_function, num_tasks=num_tasks, every=config.conflicts_every)


def run_saver(
    parts: StepParts,
    settings: RunSettings,
    run_directory: Path,
    *,
    weight_files: WeightFiles,
    sidecars: Mapping[str, bytes],
) -> RunSaver:
    """Return what saves the run."""
    saved = SavedParts(
        model=parts.model,
        optimizer=parts.optimizer,
        division=parts.ranks.division_of(parts.model, parts.optimizer),
        weight_files=weight_files,
        settings=config_to_mapping(settings),
        sidecars=sidecars,
    )
    config = parts.config
    return RunSaver(
        run_directory,
        parts=saved,
        keep=config.keep_checkpoints,
        is_regular=config.is_regular,
        ranks=parts.ranks,
        in_background=config.background_saves,
    )


def run_watch(
    parts: StepParts,
    stepper: Stepper,
    saver: RunSaver,
    *,
    task_heads: Sequence[HeadSpec | None],
    layer_rates: LayerRates | None,
) -> tuple[HealthWatch | None, Recovery | None]:
    """Return what looks after the run, if anything may."""
    config = parts.config.health
    if parts.update is not None:  # its gradient is not known in time; the update itself shortens what is too long
        config = replace(config, rescale=False)
    if not config.watch or parts.ranks.is_model_divided:  # it looks at whole weights and layers
        return None, None
    watch = HealthWatch(
        config,
        model=parts.model,
        balance=parts.balance,
        task_names=parts.task_names,
        shape=_shape_of(parts.model, task_heads),
        clip_norm=parts.config.clip_norm,
        losses_of=stepper.losses_of,
        redraw=stepper.redraw,
        layer_rates=layer_rates,
    )
    recovery = Recovery(
        watch,
        model=parts.model,
        optimizer=parts.optimizer,
        saver=saver,
        config=config,
        first_save=parts.config.checkpoint_interval,
    )
    return watch, recovery


def _shape_of(model: nn.Module, task_heads: Sequence[HeadSpec | None]) -> DataShape | None:
    if not isinstance(model, Transformer):
        return None
    return DataShape(
        vocab_size=model.config.vocab_size,
        first_image_id=model.config.text_vocab_size,
        is_word_task=tuple(head is None for head in task_heads),
    )


def run_files(model: nn.Module, run_directory: Path, *, log_every: int) -> tuple[Callback, ...]:
    """Return the files that every run writes down what happens in."""
    return (
        EventsFile(run_directory),
        MetricsFile(run_directory, log_every=log_every),
        TensorBoard(run_directory, log_every=log_every),
        LossPlot(run_directory, unit="nats" if isinstance(model, Transformer) else ""),
    )
