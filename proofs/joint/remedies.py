"""Where a task is hurt: does a short finish of its own help, on the test split?"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from banyan.core.config import read_config
from banyan.core.files import atomic_write_json, read_json
from banyan.data.corpus import corpus_key
from banyan.workflows.finish_recipe import FinishRecipe
from banyan.workflows.finishing import FINISHED, Finish, finish_run
from banyan.workflows.model_comparison import compare_models
from banyan.workflows.recipe import RECIPE_FILE, Recipe
from banyan.workflows.reporter import Reporter

_MINUTES = 2.0
_MAX_TEST = 100_000


@dataclass(frozen=True, slots=True)
class Remedies:
    """A finish for each task that was hurt, in a run that is over, and what that does to its test score."""

    run: Path
    hurt: tuple[str, ...]
    folder: Path  # where the result is kept, under a name of its own for each question
    steps: int | None  # of a finish; None: as many as the minutes allow

    @property
    def path(self) -> Path:
        """Where the result is kept."""
        key = corpus_key(self.run.name, self.hurt, self.steps, _MINUTES, _MAX_TEST)
        return self.folder / f"remedies-{key[:8]}.json"

    def do(self, *, reporter: Reporter) -> None:
        """Finish the tasks, unless that has been done, and keep what was found."""
        if self.path.is_file():
            return
        finish = FinishRecipe(tasks=self.hurt, steps=self.steps, minutes=None if self.steps else _MINUTES)
        recipe = dataclasses.replace(read_config(Recipe, self.run / RECIPE_FILE), finish=finish)
        best = (self.run / "best").resolve()
        found = finish_run(recipe, self.run, best=best, reporter=reporter)
        if found is None:
            return
        kept = tuple(name for name, one in found.items() if one.is_kept)
        tested = _tested(self.run, best, kept, reporter=reporter) if kept else {}
        atomic_write_json(self.path, {name: {**_judged(one), **tested.get(name, {})} for name, one in found.items()})


def _judged(finish: Finish) -> dict[str, Any]:
    return {"metric": finish.metric, "validation": [finish.before, finish.after], "is_kept": finish.is_kept}


def _tested(run: Path, best: Path, names: tuple[str, ...], *, reporter: Reporter) -> dict[str, dict[str, Any]]:
    compared = compare_models(
        run / FINISHED, best, tasks=names, data=(), split="test", max_examples=_MAX_TEST, reporter=reporter
    )
    return {
        own.task: {
            "test": [own.second, own.first],
            "gain": own.comparison.improvement,
            "interval": [own.comparison.interval.low, own.comparison.interval.high],
            "p_holm": own.corrected_p,
        }
        for own in compared.tasks
    }


def remedy_lines(remedies: Remedies | None) -> list[str]:
    """Return what is known, as Markdown."""
    if remedies is None or not remedies.path.is_file():
        return [
            "**Not run yet**; it needs the short form's first run, and tasks that lose something beside their twins."
        ]
    lines = ["| task | metric | validation | kept? | test | gain | 95 % interval | p (Holm) |", "|---" * 8 + "|"]
    for name, found in read_json(remedies.path).items():
        before, after = found["validation"]
        cells = [name, found["metric"], f"{before:.3f} → {after:.3f}", "yes" if found["is_kept"] else "no"]
        lines.append(f"| {' | '.join((*cells, *_test_cells(found)))} |")
    return lines


def _test_cells(found: dict[str, Any]) -> tuple[str, ...]:
    if "test" not in found:
        return ("–", "–", "–", "–")
    (before, after), (low, high) = found["test"], found["interval"]
    return (
        f"{before:.3f} → {after:.3f}",
        f"{found['gain']:+.3f}",
        f"{low:+.3f} – {high:+.3f}",
        f"{found['p_holm']:.3f}",
    )
