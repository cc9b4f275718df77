"""`banyan data augment`: what a recipe's augmentation makes of its examples, before anything is trained."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from banyan.core.errors import ConfigError, UnknownNameError
from banyan.core.registry import did_you_mean
from banyan.tasks.augmentation.config import Augmentation
from banyan.tasks.config import TaskConfig, build_task
from banyan.tasks.reading import read_examples
from banyan.workflows.augmenting import build_augmenter
from banyan.workflows.datasets import load_splits, spread
from banyan.workflows.recipe import Recipe
from banyan.workflows.reporter import Reporter


@dataclass(frozen=True, kw_only=True, slots=True)
class Wording:
    """A training example, and one of the ways in which it may be learned."""

    task: str
    before: str
    after: str
    answer: str  # the right one for both


def show_wordings(recipe: Recipe, *, task: str | None, num: int, reporter: Reporter) -> list[Wording]:
    """Return other wordings of some training examples of each task with `augment`, or of one task.

    They are drawn with the recipe's seed; `augment.share` does not count. Models that are named are asked now.
    Raises: ConfigError if no such task is augmented; FileError, DataError for its data.
    """
    shown = [wording for config in _augmented(recipe, task) for wording in _wordings(recipe, config, num, reporter)]
    reporter.close()
    return shown


def _augmented(recipe: Recipe, name: str | None) -> list[TaskConfig]:
    names = [task.name for task in recipe.tasks]
    if name is not None and name not in names:
        raise UnknownNameError(f"the recipe has no task {name!r}{did_you_mean(name, names)}")
    found = [task for task in recipe.tasks if task.augment is not None and name in (None, task.name)]
    if not found:
        whose = f"task {name}" if name else f"recipe {recipe.name}"
        raise ConfigError(f"{whose} augments nothing.", hint="give a task augment: {swap: 0.1}")
    return found


def _wordings(recipe: Recipe, config: TaskConfig, num: int, reporter: Reporter) -> list[Wording]:
    reporter.stage(f"read the data of {config.name}")
    splits = load_splits(config, seed=recipe.seed)
    task = build_task(config, rows=splits.described_by)
    examples = read_examples(task, splits.train).examples
    assert isinstance(config.augment, Augmentation)
    always = dataclasses.replace(config.augment, share=1.0)
    parent = recipe.transfer.parent
    augmenter = build_augmenter(task, always, examples, parent=parent, folder=None, key="", reporter=reporter)
    chosen = spread(examples, num)
    worded = [augmenter.vary(example, np.random.default_rng([recipe.seed, n])) for n, example in enumerate(chosen)]
    return [
        Wording(task=task.name, before=task.source(old), after=task.source(new), answer=task.reference(new))
        for old, new in zip(chosen, worded, strict=True)
    ]
