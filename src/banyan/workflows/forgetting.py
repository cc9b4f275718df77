"""What a parent could do, before its child learned something else and after: one table in the run's report.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from banyan.core.config import config, config_from_mapping, config_to_mapping, read_config
from banyan.core.errors import DataError, FileError
from banyan.core.files import atomic_write_json, atomic_write_text, read_json, read_text
from banyan.runtime.loaded_model import LoadedModel
from banyan.runtime.loading import load
from banyan.tasks.base import Task
from banyan.tasks.config import TaskDataConfig
from banyan.tasks.evaluate import TaskEvaluation, evaluate_bits
from banyan.tasks.language_modeling import LanguageModeling, TextExample
from banyan.workflows.datasets import read_places, spread
from banyan.workflows.evaluation import DataSources
from banyan.workflows.recipe import Recipe
from banyan.workflows.reporter import Reporter
from banyan.workflows.scoring import evaluate_one
from banyan.workflows.sidecars import RECIPE_FILE

FOLDER = "old_abilities"  # of a run: the parent's recipe, which names its data, and its scores
HELD_OUT = "held-out text"
REPORT_FILE = "report.md"
_SCORES_FILE = "scores.json"
_MAX_CHARACTERS = 200_000  # of running text that is scored for one ability: half a novel


@config
class OldScore:
    """One ability, as it was measured once."""

    metric: str
    score: float
    lower_is_better: bool


def measure_parent(recipe: Recipe, run_directory: Path, *, reporter: Reporter) -> None:
    """Score the parent before its child learns, where the recipe replays; what is known already is kept.

    Raises: FileError, CheckpointError if the parent is not there; DataError if a held-out text cannot be read.
    """
    folder = run_directory / FOLDER
    if recipe.transfer.replay is None or recipe.transfer.parent is None or (folder / _SCORES_FILE).is_file():
        return
    parent = Path(recipe.transfer.parent)
    if (parent / RECIPE_FILE).is_file():
        atomic_write_text(folder / RECIPE_FILE, read_text(parent / RECIPE_FILE))
    reporter.stage("score the parent")
    scores = _scores_of(parent, recipe, folder)
    atomic_write_json(folder / _SCORES_FILE, {name: config_to_mapping(score) for name, score in scores.items()})


def report_forgetting(recipe: Recipe, run_directory: Path, child: Path, *, reporter: Reporter) -> Path | None:
    """Score a child as its parent was scored, and write both into report.md; None where the parent was not scored."""
    folder = run_directory / FOLDER
    if not (folder / _SCORES_FILE).is_file():
        return None
    reporter.stage("score old abilities")
    before = {name: config_from_mapping(OldScore, score) for name, score in read_json(folder / _SCORES_FILE).items()}
    after = _scores_of(child, recipe, folder, names=set(before))
    lines = [
        f"# {recipe.name}",
        "",
        f"Begun with {recipe.transfer.parent}; {_share(recipe)}.",
        "",
        "## Old abilities, before and after",
        "",
        *old_abilities_table(before, after),
    ]
    atomic_write_text(run_directory / REPORT_FILE, "\n".join(lines) + "\n")
    return run_directory / REPORT_FILE


def old_abilities_table(before: Mapping[str, OldScore], after: Mapping[str, OldScore]) -> list[str]:
    """Return a Markdown table of what a parent scored, and its child; a task that was dropped has no second score."""
    lines = ["| ability | metric | before | after | change |", "|---|---|---|---|---|"]
    for name, old in before.items():
        new = after.get(name)
        scores = "– | –" if new is None else f"{new.score:.3f} | {_change(old, new)}"
        lines.append(f"| {name} | {old.metric}{' ↓' if old.lower_is_better else ''} | {old.score:.3f} | {scores} |")
    return lines


def _change(old: OldScore, new: OldScore) -> str:
    change = new.score - old.score
    verdict = "" if change == 0 else " better" if (change < 0) == old.lower_is_better else " worse"
    return f"{change:+.3f}{verdict}"


def _share(recipe: Recipe) -> str:
    replay = recipe.transfer.replay
    share = 0.0 if replay is None else replay.share
    return f"{share:.0%} of the training rows were old material" if share else "no old material was replayed"


def _scores_of(directory: Path, recipe: Recipe, folder: Path, *, names: set[str] | None = None) -> dict[str, OldScore]:
    """Score a model on what its parent's recipe names, and on the held-out texts; of its tasks, those of `names`."""
    scores = {}
    with load(directory) as model:
        for name, task in model.tasks.items():
            examples = _examples(model, task, recipe, folder) if names is None or name in names else []
            if examples:
                judge = None  # a task that draws is scored by likelihood, which needs no judge
                scores[name] = _old_score(task, evaluate_one(model, task, examples, judge=judge))
        if texts := held_out_texts(recipe):
            evaluation = evaluate_bits(HELD_OUT, texts, model.engine.bits)
            scores[HELD_OUT] = OldScore(metric="bits_per_byte", score=evaluation.score, lower_is_better=True)
    return scores


def _old_score(task: Task[Any], evaluation: TaskEvaluation) -> OldScore:
    return OldScore(metric=evaluation.main_metric, score=evaluation.score, lower_is_better=evaluation.lower_is_better)


def _examples(model: LoadedModel, task: Task[Any], recipe: Recipe, folder: Path) -> list[Any]:
    """Return the examples of a task that the parent's recipe holds out; none where its data is not there."""
    path = folder / RECIPE_FILE
    parent_recipe = read_config(Recipe, path) if path.is_file() else None
    for split in ("test", "validation"):
        sources = DataSources(model, {}, split=split, recipe=parent_recipe)
        with suppress(FileError, DataError):
            if found := sources.examples(task, limit=recipe.evaluation.max_test_examples):
                return _shortened(found) if isinstance(task, LanguageModeling) else found
    return []


def _shortened(examples: Sequence[TextExample]) -> list[TextExample]:
    """Return the beginnings of texts, each as long as the others may be."""
    share = max(1, _MAX_CHARACTERS // max(1, len(examples)))
    return [TextExample(text=example.text[:share]) for example in examples]


def held_out_texts(recipe: Recipe) -> Sequence[str]:
    """Return the old texts that nobody learns from."""
    places = None if recipe.transfer.replay is None else recipe.transfer.replay.held_out
    if places is None:
        return []
    reader = LanguageModeling(name=HELD_OUT.replace(" ", "_"))
    texts = [reader.parse(row) for row in read_places(places, "test", TaskDataConfig())]
    return [example.text for example in _shortened(spread(texts, recipe.evaluation.max_test_examples))]
