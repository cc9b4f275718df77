"""Old material in a new run: rows of the parent's own tasks, or texts that the parent writes, as tasks of their own."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from banyan.core.config import config_from_mapping
from banyan.core.errors import ConfigError, UnknownNameError
from banyan.core.files import atomic_write_text
from banyan.core.registry import did_you_mean
from banyan.core.types import MaskKind, Prompt, Text
from banyan.infer.sampling import SamplingConfig
from banyan.runtime.loaded_model import LoadedModel
from banyan.runtime.loading import load
from banyan.tasks.base import Task
from banyan.tasks.config import TaskConfig, TaskDataConfig
from banyan.workflows.recipe import Recipe
from banyan.workflows.reporter import Reporter
from banyan.workflows.transfer_recipe import ReplayRecipe

GENERATED = "replay"  # the task of what the parent writes, and the run's folder for it
_TEXTS_FILE = "texts.jsonl"
_TEXTS_AT_ONCE = 64
_NOT_IN_RECIPE = {"kind", "name", "columns"}


def with_replay(recipe: Recipe, parent_tasks: Mapping[str, Task[Any]], run_directory: Path) -> Recipe:
    """Return the recipe with its old material among its tasks; together they have the share it asks for.

    Raises: UnknownNameError for a task the parent does not have; ConfigError for one that the recipe teaches anyway.
    """
    replay = recipe.transfer.replay
    if replay is None or not replay.share:
        return recipe
    if _has_replay(recipe, replay):  # the resolved recipe of another run
        return recipe
    tasks = [_old_task(name, places, recipe, parent_tasks) for name, places in replay.data.items()]
    if replay.generated:
        tasks.append(_generated_task(recipe, run_directory))
    rate = _rate_of(replay, recipe) / len(tasks)
    return dataclasses.replace(recipe, tasks=(*recipe.tasks, *(dataclasses.replace(task, rate=rate) for task in tasks)))


def _has_replay(recipe: Recipe, replay: ReplayRecipe) -> bool:
    """Whether the old material is among the tasks already."""
    places = {task.name: task.data.train for task in recipe.tasks if task.rate is not None}
    has_texts = str(places.get(GENERATED, "")).endswith(_TEXTS_FILE) or not replay.generated
    return has_texts and all(places.get(name) == place for name, place in replay.data.items())


def with_saved_replay(recipe: Recipe, saved: Recipe) -> Recipe:
    """Return the recipe of a run that goes on, with the old material it began with."""
    names = {task.name for task in recipe.tasks}
    if recipe.transfer.replay is None:
        return recipe
    return dataclasses.replace(recipe, tasks=(*recipe.tasks, *(task for task in saved.tasks if task.name not in names)))


def _old_task(name: str, places: str | list[str], recipe: Recipe, parent_tasks: Mapping[str, Task[Any]]) -> TaskConfig:
    if name not in parent_tasks:
        raise UnknownNameError(
            f"transfer.replay.data names {name!r}, which is no task of the parent{did_you_mean(name, parent_tasks)}"
        )
    if any(task.name == name for task in recipe.tasks):
        raise ConfigError(
            f"transfer.replay.data names {name}, which the recipe teaches anyway.",
            hint="add its rows to the data of that task",
        )
    spec = parent_tasks[name].spec()
    known = {field.name for field in dataclasses.fields(TaskConfig)} - _NOT_IN_RECIPE
    given = {key: value for key, value in spec.items() if key in known}
    data = TaskDataConfig(train=places, columns=dict(spec.get("columns", {})))
    return config_from_mapping(TaskConfig, {"name": name, "kind": spec["kind"], "data": data, **given})


def _generated_task(recipe: Recipe, run_directory: Path) -> TaskConfig:
    if any(task.name == GENERATED for task in recipe.tasks):
        raise ConfigError(
            f"the task name {GENERATED!r} is needed for what the parent writes (transfer.replay.generated).",
            hint="give the recipe's task another name",
        )
    texts = (run_directory / GENERATED / _TEXTS_FILE).absolute()
    return TaskConfig(name=GENERATED, kind="language_modeling", data=TaskDataConfig(train=str(texts)))


def _rate_of(replay: ReplayRecipe, recipe: Recipe) -> float:
    """Return the rate of all old tasks together: rates that are all given are proportions of each other."""
    given = {**recipe.mixture.rates, **{t.name: t.rate for t in recipe.tasks if t.rate is not None}}
    are_all_given = all(task.name in given for task in recipe.tasks)
    return replay.share / (1 - replay.share) * sum(given.values()) if are_all_given else replay.share


def write_texts(recipe: Recipe, *, reporter: Reporter) -> None:
    """Let the parent write the texts that the recipe wants to replay, unless they are written already.

    Raises: FileError, CheckpointError if the parent is not there to write them.
    """
    replay, parent = recipe.transfer.replay, recipe.transfer.parent
    path = next((Path(str(task.data.train)) for task in recipe.tasks if task.name == GENERATED), None)
    if replay is None or parent is None or path is None or path.is_file():
        return
    reporter.stage("let the parent write")
    with load(parent) as model:
        texts = _texts_of(model, replay, seed=recipe.seed, reporter=reporter)
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write_text(path, "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts))


def _texts_of(model: LoadedModel, replay: ReplayRecipe, *, seed: int, reporter: Reporter) -> list[str]:
    """Return texts from the very beginning, drawn with the model's own probabilities."""
    vocabulary = model.vocabulary
    length = min(replay.max_new_tokens, model.max_seq_len - 1)
    decoding = Text(max_tokens=length, stop_token_ids=vocabulary.text_stop_ids)
    start_ids = vocabulary.start_ids or (vocabulary.bos_id,)
    prompt = Prompt(task=GENERATED, token_ids=start_ids, mask=MaskKind.CAUSAL, decoding=decoding)
    texts: list[str] = []
    drawn = 0
    while len(texts) < replay.generated and drawn < 4 * replay.generated + _TEXTS_AT_ONCE:
        samplings = [
            SamplingConfig(temperature=1.0, seed=seed + number) for number in range(drawn, drawn + _TEXTS_AT_ONCE)
        ]
        drawn += len(samplings)
        completions = model.engine.complete([prompt] * len(samplings), samplings)
        texts += [text for c in completions if (text := vocabulary.decode(c.token_ids)).strip()]
        reporter.progress(min(len(texts), replay.generated), replay.generated, note="texts")
    if not texts:
        raise ConfigError(
            f"transfer.replay.generated={replay.generated}: the parent wrote nothing but empty texts.",
            hint="replay rows of its tasks instead, transfer.replay.data",
        )
    return texts[: replay.generated]
