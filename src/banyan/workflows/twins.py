"""Parts of a joint run: some of its tasks, each with as many rows as in the whole, in a model of the same size."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from banyan.core.config import config
from banyan.train.balance_config import BalanceConfig
from banyan.train.config import TrainConfig
from banyan.train.optimizer import LEARNING_RATES, OptimizerConfig
from banyan.train.ramps import planned_rows
from banyan.workflows.material import Material
from banyan.workflows.recipe import Recipe

JOINT = "joint"
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Tasks that are taught together."""

    name: str
    tasks: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One run: which tasks, at which factor on the recipe's learning rates, from which seed."""

    group: Group
    rate: float
    seed: int

    @property
    def name(self) -> str:
        """The file its result is kept in."""
        return f"{self.group.name}-x{self.rate:g}-seed{self.seed}"


@config
class JointLength:
    """How long the joint run is, and what each task has of it: so much it has in every run."""

    steps: int
    rows: dict[str, int]  # by task

    def rows_of(self, tasks: Sequence[str]) -> int:
        """Return the rows of some tasks together."""
        return sum(self.rows[name] for name in tasks)


def joint_length(recipe: Recipe, material: Material) -> JointLength:
    """Return the rows of each task in a joint run whose steps are settled."""
    total = planned_rows(recipe.train)
    if material.plan is None:
        shares = material.rates
    else:
        shares = dict(zip(material.plan.names, material.plan.due(1.0).tolist(), strict=True))
    return JointLength(steps=recipe.train.steps, rows={name: max(1, round(total * shares[name])) for name in shares})


def cell_recipe(recipe: Recipe, length: JointLength, cell: Cell) -> Recipe:
    """Return the recipe of one run.

    A part of the tasks has its part of the rows: fewer in each step as far as whole rows allow, and then fewer steps.
    So it makes nearly as many updates as the joint run, and its learning rate moves along the same curve.
    """
    names = cell.group.tasks
    is_joint = len(names) == len(recipe.tasks)
    mixture = recipe.mixture if is_joint else dataclasses.replace(recipe.mixture, rates={}, schedule=())
    return dataclasses.replace(
        recipe,
        name=cell.name,
        seed=cell.seed,
        minutes=None,
        tasks=tuple(task for task in recipe.tasks if task.name in names),
        mixture=dataclasses.replace(mixture, slow_after=None),
        train=_train_config(recipe.train, length, names),
        optimizer=scaled_rates(recipe.optimizer, cell.rate),
        sampling={name: how for name, how in recipe.sampling.items() if name in names},
        evaluation=dataclasses.replace(
            recipe.evaluation,
            validation_examples=_only(recipe.evaluation.validation_examples, names),
            keep_task_bests=False,
        ),
        finish=None,
    )


def _train_config(train: TrainConfig, length: JointLength, names: Sequence[str]) -> TrainConfig:
    whole, own = length.rows_of(tuple(length.rows)), length.rows_of(names)
    num_rows = max(1, round(train.batch_seqs * own / whole))  # in a step
    accumulation_steps = math.ceil(num_rows / train.micro_batch_seqs)
    micro_batch_seqs = round(num_rows / accumulation_steps)
    steps = round(length.steps * train.batch_seqs * own / whole / (micro_batch_seqs * accumulation_steps))
    return dataclasses.replace(
        train,
        budget=None,
        steps=max(1, steps),
        micro_batch_seqs=micro_batch_seqs,
        accumulation_steps=accumulation_steps,
        balance=_balance(train.balance, names),
        evaluate_every=None,
        checkpoint_every=None,
        keep_checkpoints=1,
    )


def _balance(balance: BalanceConfig, names: Sequence[str]) -> BalanceConfig:
    """Return the balance of some of the tasks; one alone has nothing to be weighed against."""
    if len(names) == 1:
        return BalanceConfig()
    groups = (tuple(name for name in group if name in names) for group in balance.groups)
    return dataclasses.replace(balance, groups=tuple(group for group in groups if group))


def scaled_rates(optimizer: OptimizerConfig, factor: float) -> OptimizerConfig:
    """Return an optimizer whose learning rates are all so many times what they were."""
    rates = {name: getattr(optimizer, name) for name in LEARNING_RATES}
    return dataclasses.replace(optimizer, **{name: rate * factor for name, rate in rates.items() if rate is not None})


def cell_material(material: Material, length: JointLength, names: Sequence[str]) -> Material:
    """Return what a run of some tasks learns from: the same rendered examples, in shares as the joint run gives them.

    The vocabulary stays that of all tasks, so that every run's model has the same size.
    """
    if len(names) == len(material.tasks):
        return material
    rows = length.rows_of(names)
    return dataclasses.replace(
        material,
        tasks=tuple(task for task in material.tasks if task.name in names),
        known_tasks=tuple(task for task in material.known_tasks if task.name in names),
        sources=tuple(source for source in material.sources if source.task in names),
        rates={name: length.rows[name] / rows for name in material.rates if name in names},
        plan=None,
        validation=_only(material.validation, names),
        test=_only(material.test, names),
        train=_only(material.train, names),
        skipped=_only(material.skipped, names),
        sampling=_only(material.sampling, names),
    )


def _only(by_task: Mapping[str, T], names: Sequence[str]) -> dict[str, T]:
    return {name: value for name, value in by_task.items() if name in names}
