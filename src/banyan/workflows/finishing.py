"""A short finish for each task of a joint run: an adapter that learns this task alone, kept only where it helps.

An adapter and not the weights, so that one task's finish changes no other task by a bit. Those that are kept become
part of one model directory, `finished` beside `best`, which answers a task through its finish and others as `best`.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from banyan.core.config import config, config_from_mapping, config_to_mapping
from banyan.core.files import atomic_write_json, read_json, sha256_of
from banyan.core.locks import hold_directory
from banyan.core.model_directory import EXTRAS_FILE, MANIFEST
from banyan.data.corpus import corpus_key
from banyan.data.mixture import MixtureConfig
from banyan.model.checkpoint import MODEL_FILE
from banyan.model.peft_config import ADAPTER_CONFIG_FILE
from banyan.model.peft_format import ADAPTER_WEIGHTS_FILE
from banyan.runtime.finishes import FINISHES
from banyan.runtime.loading import load
from banyan.train.balance_config import BalanceConfig
from banyan.workflows.datasets import load_splits, spread
from banyan.workflows.finish_recipe import FinishRecipe
from banyan.workflows.model_copies import copy_model
from banyan.workflows.recipe import ModelRecipe, Recipe, TokenizerRecipe
from banyan.workflows.reporter import Reporter
from banyan.workflows.scoring import evaluate_one
from banyan.workflows.training import train
from banyan.workflows.transfer_recipe import TransferRecipe
from banyan.workflows.twins import scaled_rates

FOLDER = "finish"  # of a run: for each joint model and way to finish it, the runs and what became of them
FINISHED = "finished"  # of a run: the model with those that are kept
_KEY_DIGITS = 12
_ADAPTER_FILES = (ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE, MODEL_FILE, EXTRAS_FILE)


@config
class Finish:
    """What became of the finish of one task, on its validation examples."""

    metric: str
    before: float
    after: float
    improvement: float  # above zero is better, whichever way the metric points
    interval: tuple[float, float]  # 95 %, paired
    num_examples: int
    checkpoint: str  # of the adapter

    @property
    def is_kept(self) -> bool:
        """Whether it helped."""
        return self.improvement > 0


def finish_run(recipe: Recipe, run: Path, *, best: Path, reporter: Reporter) -> dict[str, Finish] | None:
    """Finish the tasks of a run as its recipe asks, and put those that were helped into one model, `finished`.

    What is done is not done again, unless the run has another best model by now, or is to be finished in another way.
    None: it was interrupted, and goes on when it is asked for again.
    Raises: ConfigError if a task has no validation examples to be judged by; as `train`.
    """
    if recipe.finish is None:
        return {}
    folder = finish_folder(recipe.finish, run, best=best)
    with hold_directory(run / FOLDER):
        names = recipe.finish.names_among(recipe.tasks)
        waiting = [task for task in recipe.tasks if task.name in names and _known(folder, task.name) is None]
        recipe.finish.check_judged({task.name: load_splits(task, seed=recipe.seed).validation for task in waiting})
        found: dict[str, Finish] = {}
        for name in names:
            finish = _known(folder, name) or _finish(
                recipe, recipe.finish, name, best=best, folder=folder, reporter=reporter
            )
            if finish is None:
                return None
            found[name] = finish
            reporter.line(_told(name, finish))
        _put_together(best, found, run / FINISHED)
    return found


def finish_folder(finish: FinishRecipe, run: Path, *, best: Path) -> Path:
    """Return where the finishes of this very model lie: an adapter fits no other, not even a later one of the run.

    Which tasks are asked for makes no difference.
    """
    key = corpus_key(dataclasses.replace(finish, tasks=()), sha256_of(best / MANIFEST))
    return run / FOLDER / key[:_KEY_DIGITS]


def _known(folder: Path, name: str) -> Finish | None:
    path = folder / f"{name}.json"
    return config_from_mapping(Finish, read_json(path), source=str(path)) if path.is_file() else None


def _finish(
    recipe: Recipe, finish: FinishRecipe, name: str, *, best: Path, folder: Path, reporter: Reporter
) -> Finish | None:
    reporter.stage(f"finish {name}")
    child = train(
        finishing_recipe(recipe, finish, name, parent=best),
        reporter=reporter,
        run_directory=folder / name,
        resume=True,
    )
    if child.result.stopped_by == "interrupt":
        return None
    examples = spread(child.material.validation[name], finish.max_examples)
    result = _judged(child.result.best_checkpoint, name, examples)
    atomic_write_json(folder / f"{name}.json", config_to_mapping(result))
    return result


def finishing_recipe(recipe: Recipe, finish: FinishRecipe, name: str, *, parent: Path) -> Recipe:
    """Return the recipe of one task's finish: an adapter beside the joint model, which learns this task alone."""
    train_config = dataclasses.replace(
        recipe.train,
        budget=None,
        steps=finish.steps or recipe.train.steps,
        batch_ramp=None,
        seq_len_ramp=None,
        precision="auto" if recipe.train.precision == "int8" else recipe.train.precision,  # which is for fresh weights
        balance=BalanceConfig(),
        evaluate_every=None,
        checkpoint_every=None,
        keep_checkpoints=1,
    )
    return dataclasses.replace(
        recipe,
        name=f"finish-{name}",
        minutes=finish.minutes,
        tasks=tuple(dataclasses.replace(task, rate=None) for task in recipe.tasks if task.name == name),
        model=ModelRecipe(dropout=recipe.model.dropout),
        tokenizer=TokenizerRecipe(),
        mixture=MixtureConfig(),
        train=train_config,
        optimizer=scaled_rates(recipe.optimizer, finish.rate),
        evaluation=dataclasses.replace(recipe.evaluation, validation_examples={}, keep_task_bests=False),
        sampling={task: how for task, how in recipe.sampling.items() if task == name},
        transfer=TransferRecipe(parent=str(parent), lora=finish.lora),
        finish=None,
        dial_keeps=(),
    )


def _judged(adapter: Path, name: str, examples: Sequence[Any]) -> Finish:
    """Score a task through its finish and without it, on the same examples."""
    with load(adapter) as finished:
        assert finished.trunk is not None, "a finish is an adapter"
        after = evaluate_one(finished, finished.task(name), examples, judge=None)
        before = evaluate_one(finished.trunk, finished.trunk.task(name), examples, judge=None)
    comparison = after.compared_with(before)
    return Finish(
        metric=after.main_metric,
        before=before.score,
        after=after.score,
        improvement=comparison.improvement,
        interval=(comparison.interval.low, comparison.interval.high),
        num_examples=len(examples),
        checkpoint=str(adapter),
    )


def _told(name: str, finish: Finish) -> str:
    verdict = "kept" if finish.is_kept else "thrown away"
    return f"finish of {name}: {finish.metric} {finish.before:.4f} → {finish.after:.4f}, {verdict}"


def _put_together(best: Path, found: Mapping[str, Finish], path: Path) -> None:
    """Write the model with the finishes that are kept; without any there is no such model."""
    kept = {name: Path(finish.checkpoint) for name, finish in found.items() if finish.is_kept}
    if not kept:
        shutil.rmtree(path, ignore_errors=True)
        return
    parts = {
        Path(FINISHES) / name: [adapter / part for part in _ADAPTER_FILES if (adapter / part).is_file()]
        for name, adapter in kept.items()
    }
    copy_model(best, path, beside=parts)
