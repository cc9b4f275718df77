"""Does one run of the grid and tells what it scored."""

from __future__ import annotations

import itertools
import json
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from banyan.core.config import config_from_mapping
from banyan.core.types import Row
from banyan.data.catalog import load_split
from banyan.model.transformer import count_parameters
from banyan.runtime.loading import load
from banyan.tasks.base import Task
from banyan.tasks.baselines.table import baselines_for
from banyan.tasks.evaluate import evaluate_task
from banyan.workflows.recipe import Recipe
from banyan.workflows.reporter import SilentReporter
from banyan.workflows.scoring import evaluate_one
from banyan.workflows.training import TrainingOutcome, train
from proofs.transfer.grid import SEARCHED_RATES, Cell, DataSet, as_row
from proofs.transfer.learners import LEARNERS, Models, continuation_of, recipe_of

_MAX_TEXTS = 20_000  # of a set that a trunk reads without its labels


class Trials:
    """Runs of the grid, in a folder where each leaves one file."""

    def __init__(self, folder: Path, *, trunk: Path) -> None:
        self._folder = folder
        self._rows = folder / "rows"
        self._work = folder / "work"
        for place in (folder, self._rows, folder / "continued"):
            place.mkdir(parents=True, exist_ok=True)
        self._models = Models(trunk=trunk, continued={})

    def result(self, cell: Cell) -> dict[str, Any] | None:
        """Return what a run scored, if it has been done."""
        path = self._folder / f"{cell.name}.json"
        return json.loads(path.read_text()) if path.is_file() else None

    def do(self, cell: Cell) -> dict[str, Any]:
        """Do a run, keep its result and return it."""
        rate = LEARNERS[cell.method].rate
        if rate is None:
            rate = self._searched_rate(cell)
        if cell.method == "continue+full":
            self._models.continued[cell.data.name] = self._continued(cell.data)
        found = self._learn(cell, rate=rate, score=self._score)
        return self._keep(cell.name, as_row(cell, rate=rate, **found))

    def _searched_rate(self, cell: Cell) -> float:
        """Return the learning rate that scores best on the validation split, sought once for a data set and size."""
        name = f"rate-{cell.data.name}-{cell.size or 'all'}-{cell.method}"
        path = self._folder / f"{name}.json"
        if not path.is_file():
            first = Cell(data=cell.data, size=cell.size, method=cell.method, seed=0)
            scores = {rate: self._learn(first, rate=rate, score=_best_validation)["score"] for rate in SEARCHED_RATES}
            self._keep(name, {"scores": {str(rate): score for rate, score in scores.items()}})
        found = json.loads(path.read_text())["scores"]
        return max(SEARCHED_RATES, key=lambda rate: found[str(rate)])

    def _learn(
        self, cell: Cell, *, rate: float, score: Callable[[TrainingOutcome, Cell], dict[str, Any]]
    ) -> dict[str, Any]:
        mapping = recipe_of(cell, self._models, rows=self._subset(cell), rate=rate)
        started = time.perf_counter()
        outcome = self._train(mapping, self._work)
        seconds = time.perf_counter() - started
        return {**score(outcome, cell), "seconds": round(seconds, 1)}

    def _train(self, mapping: dict[str, Any], directory: Path) -> TrainingOutcome:
        shutil.rmtree(directory, ignore_errors=True)
        recipe = config_from_mapping(Recipe, mapping, source="the proof")
        outcome = train(recipe, reporter=SilentReporter(), run_directory=directory)
        if outcome.result.stopped_by == "interrupt":  # nothing of it counts, and no other run is begun
            raise KeyboardInterrupt
        return outcome

    def _score(self, outcome: TrainingOutcome, cell: Cell) -> dict[str, Any]:
        with load(outcome.run_directory / "best") as model:
            task = model.task(cell.data.name)
            evaluation = evaluate_one(model, task, outcome.material.test[task.name], judge=None)
            return {
                "score": evaluation.score,
                "baselines": self._baselines(task, outcome, cell),
                "num_parameters": count_parameters(model.model),
                "num_trained": LEARNERS[cell.method].num_trained(model.model),
            }

    def _baselines(self, task: Task[Any], outcome: TrainingOutcome, cell: Cell) -> dict[str, float]:
        """Return what the simple baselines score that learned from the same rows, worked out once for all ways."""
        name = f"baselines-{cell.data.name}-{cell.size or 'all'}-{cell.seed}"
        path = self._folder / f"{name}.json"
        if not path.is_file():
            found = {
                baseline.name: evaluate_task(task, outcome.material.test[task.name], baseline.learn()).score
                for baseline in baselines_for(task, outcome.material.train[task.name], seed=cell.seed)
                if not baseline.is_slow
            }
            self._keep(name, found)
        scores: dict[str, float] = json.loads(path.read_text())
        return scores

    def _subset(self, cell: Cell) -> Path:
        """Write the examples a run may learn from; a seed draws the same ones for every way to learn."""
        path = self._rows / f"{cell.data.name}-{cell.size or 'all'}-{cell.seed}.jsonl"
        if not path.is_file():
            rows = list(load_split(cell.data.name, "train"))
            order = np.random.default_rng([cell.seed, len(rows)]).permutation(len(rows))
            path.write_text("".join(_lines(rows[number] for number in order[: cell.size])), encoding="utf-8")
        return path

    def _continued(self, data: DataSet) -> Path:
        directory = self._folder / "continued" / data.name
        if not (directory / "best").exists():
            texts = {name: self._texts(name) for name in data.raw_text}
            self._train(continuation_of(data, self._models, texts=texts), directory)
        return directory / "best"

    def _texts(self, name: str) -> Path:
        """Write what the training rows of a set say, words joined by spaces where they are listed, without labels."""
        path = self._rows / f"{name}-texts.jsonl"
        if not path.is_file():
            rows = itertools.islice(load_split(name, "train"), _MAX_TEXTS)
            path.write_text("".join(_lines({"text": _text(row)} for row in rows)), encoding="utf-8")
        return path

    def _keep(self, name: str, row: dict[str, Any]) -> dict[str, Any]:
        path = self._folder / f"{name}.json"
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(row, indent=1))
        temporary.replace(path)
        return row


def _text(row: Row) -> str:
    return str(row["text"]) if "text" in row else " ".join(row["tokens"])


def _lines(rows: Iterable[Row]) -> Iterable[str]:
    return (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _best_validation(outcome: TrainingOutcome, cell: Cell) -> dict[str, Any]:
    return {"score": outcome.result.best_score}
