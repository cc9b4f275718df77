"""Going on with a run: which keys of its recipe may have changed since it began, and whether its data has."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from banyan.core.config import config_to_mapping, read_config
from banyan.core.devices import choose_device
from banyan.core.errors import CheckpointError, ConfigError
from banyan.runtime.description import read_description
from banyan.tasks.augmentation.config import Augmentation
from banyan.workflows.datasets import absolute_place, resolve_places
from banyan.workflows.dial import as_dialled, has_dial
from banyan.workflows.parent import settle_parent, tasks_of_parent, with_saved_parent
from banyan.workflows.recipe import Recipe, with_precision, with_products, with_steps
from banyan.workflows.replay import with_replay, with_saved_replay
from banyan.workflows.sidecars import RECIPE_FILE
from banyan.workflows.transfer_recipe import TransferRecipe

# What neither the shapes of a checkpoint nor the order of the data depends on. A place of data may change, for its
# content is compared by fingerprint; micro-batches may, while the batch stays as large.
_MAY_CHANGE = re.compile(
    r"minutes|device|(parallel|tracking|evaluation|sampling|schedule|finish|train\.health)(\..+)?"
    r"|train\.(steps|clip_norm|evaluate_every|checkpoint_every|keep_checkpoints|early_stop_patience|log_every"
    r"|background_saves|prefetch|precision|products|conflicts_every)"
    r"|optimizer\.((matrix_|embedding_|head_)?learning_rate|weight_decay|beta1|beta2|epsilon|momentum)"
    r"|tasks\.\d+\.(weight|data\.(train|validation|test))(\..+)?|data\.(train|validation|test)(\..+)?"
)
_MICRO_BATCH = {"train.micro_batch_seqs", "train.accumulation_steps"}


def settle_recipe(recipe: Recipe, run_directory: Path, *, resume: bool) -> Recipe:
    """Return the recipe with absolute data paths; that of a resumed run must fit what the run began with.

    Raises: ConfigError naming the keys that may not change and have.
    """
    recipe = _with_absolute_paths(recipe)
    saved = _saved_recipe(run_directory) if resume else None
    if saved is None:
        return with_replay(settle_parent(recipe), tasks_of_parent(recipe), run_directory)
    recipe = with_saved_replay(with_saved_parent(recipe, saved), saved)
    if has_dial(recipe):
        recipe = as_dialled(recipe, saved)
    recipe = _in_saved_formats(recipe, saved)
    recipe = settle_evaluations(recipe if recipe.minutes is None else with_steps(recipe, saved.train.steps))
    recipe = _with_saved_validation(recipe, saved)
    refuse_changes(saved, recipe, run_directory)
    return recipe


def refuse_changes(saved: Any, recipe: Any, run_directory: Path) -> None:
    """Make sure that a settled recipe asks for nothing that the run it goes on with was not begun with.

    Raises: ConfigError naming a key that may not change and has.
    """
    changed = _differences(saved, recipe)
    if recipe.train.batch_seqs == saved.train.batch_seqs:
        changed = {key: change for key, change in changed.items() if key not in _MICRO_BATCH}
    if fixed := [key for key in changed if not _MAY_CHANGE.fullmatch(key)]:
        before, now = changed[fixed[0]]
        raise ConfigError(
            f"cannot resume {run_directory}: the recipe's {fixed[0]} is not what the run began with "
            f"({before!r}, now {now!r}).",
            hint=f"resume with {run_directory / RECIPE_FILE}, or give the changed recipe another name",
        )


def recipe_changes(recipe: Recipe, run_directory: Path) -> dict[str, list[Any]]:
    """Return the keys of a settled recipe that have changed since the run began, each as [before, now]."""
    saved = _saved_recipe(run_directory)
    return {} if saved is None else _differences(saved, recipe)


def settle_evaluations(recipe: Recipe) -> Recipe:
    """Spread the recipe's number of evaluations over its steps."""
    if recipe.train.evaluate_every is not None:
        return _with_checkpoints(recipe)
    interval = math.ceil(recipe.train.steps / recipe.evaluation.num_validations)  # the last one at the last step
    spread = dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, evaluate_every=interval))
    return _with_checkpoints(spread)


def _with_checkpoints(recipe: Recipe) -> Recipe:
    """Return the recipe with a checkpoint at every evaluation, where any may be the best of a task."""
    if not recipe.evaluation.keep_task_bests or recipe.train.checkpoint_every is not None:
        return recipe
    train = dataclasses.replace(recipe.train, checkpoint_every=recipe.train.evaluate_every)
    return dataclasses.replace(recipe, train=train)


def _in_saved_formats(recipe: Recipe, saved: Recipe) -> Recipe:
    """Return the recipe with the products that were chosen when the run began, where it leaves them open again."""
    if recipe.train.products == "auto":  # another routine gives other last bits
        recipe = with_products(recipe, saved.train.products)
    if recipe.train.precision != "auto" or choose_device(recipe.device).type != "cpu":
        return recipe
    before = saved.train.precision
    is_divided = before == "int8" and recipe.parallel.tensor > 1  # int8 needs whole matrices
    return with_precision(recipe, "float32" if before == "auto" or is_divided else before)


def _with_saved_validation(recipe: Recipe, saved: Recipe) -> Recipe:
    """Return the recipe with as many validation examples as the run began with, where seconds decided how many."""
    before, now = saved.evaluation, recipe.evaluation
    if now.max_seconds is None or now.max_seconds != before.max_seconds or now.validation_examples:
        return recipe
    return dataclasses.replace(
        recipe, evaluation=dataclasses.replace(now, validation_examples=before.validation_examples)
    )


def learned_data(run_directory: Path) -> str | None:
    """Return the fingerprint of the data a run has learned from, or None if it has not saved (or cannot be read)."""
    try:
        return read_description(run_directory / "last").dataset_fingerprint
    except CheckpointError:
        return None


def _saved_recipe(run_directory: Path) -> Recipe | None:
    path = run_directory / RECIPE_FILE
    return read_config(Recipe, path) if path.is_file() else None


def _differences(saved: Recipe, now: Recipe) -> dict[str, list[Any]]:
    before, after = _flat(config_to_mapping(saved)), _flat(config_to_mapping(now))
    return {key: [before.get(key), after.get(key)] for key in {**before, **after} if before.get(key) != after.get(key)}


def _flat(value: Any, *, at: str = "") -> dict[str, Any]:
    """Return the plain values of a config by their full keys; an empty list or mapping is a value."""
    items: Any = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    found = {key: item for name, inner in items for key, item in _flat(inner, at=f"{at}.{name}".lstrip(".")).items()}
    return found or {at: value}


def _with_absolute_paths(recipe: Recipe) -> Recipe:
    tasks = tuple(_with_absolute_data(task) for task in recipe.tasks)
    path = recipe.tokenizer.path
    tokenizer = dataclasses.replace(recipe.tokenizer, path=None if path is None else str(Path(path).absolute()))
    pictures = recipe.image_tokenizer
    if pictures.path is not None:
        pictures = dataclasses.replace(pictures, path=str(Path(pictures.path).absolute()))
    return dataclasses.replace(
        recipe,
        tasks=tasks,
        tokenizer=tokenizer,
        image_tokenizer=pictures,
        transfer=_with_absolute_replay(recipe.transfer),
    )


def _with_absolute_replay(transfer: TransferRecipe) -> TransferRecipe:
    if transfer.replay is None:
        return transfer
    data = {name: absolute_place(places) or places for name, places in transfer.replay.data.items()}
    replay = dataclasses.replace(transfer.replay, data=data, held_out=absolute_place(transfer.replay.held_out))
    return dataclasses.replace(transfer, replay=replay)


def _with_absolute_data(task: Any) -> Any:
    data = dataclasses.replace(task.data, **resolve_places(task.data))
    return dataclasses.replace(task, data=data, augment=None if task.augment is None else _settled(task.augment))


def _settled(augment: Augmentation) -> Augmentation:
    model = None if augment.model is None else str(Path(augment.model).absolute())
    dictionary = None if augment.dictionary is None else str(Path(augment.dictionary).absolute())
    return dataclasses.replace(augment, model=model, dictionary=dictionary)
