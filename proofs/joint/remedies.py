"""Where a task is hurt: does a short finish of its own help, on the test split?"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from banyan.core.config import read_config
from banyan.core.files import atomic_write_json, read_json
from banyan.workflows.finish_recipe import FinishRecipe
from banyan.workflows.finishing import FINISHED, Finish, finish_run
from banyan.workflows.model_comparison import compare_models
from banyan.workflows.recipe import RECIPE_FILE, Recipe
from banyan.workflows.reporter import Reporter

_MINUTES = 2.0
_MAX_TEST = 100_000


def do_remedies(run: Path, hurt: tuple[str, ...], kept_in: Path, *, steps: int | None, reporter: Reporter) -> None:
    """Finish the tasks that were hurt, in a run that is over, and keep what that did to their test scores."""
    finish = FinishRecipe(tasks=hurt, steps=steps, minutes=None if steps else _MINUTES)
    recipe = dataclasses.replace(read_config(Recipe, run / RECIPE_FILE), finish=finish)
    best = (run / "best").resolve()
    found = finish_run(recipe, run, best=best, reporter=reporter)
    if found is None:
        return
    kept = tuple(name for name, one in found.items() if one.is_kept)
    tested = _tested(run, best, kept, reporter=reporter) if kept else {}
    atomic_write_json(kept_in, {name: {**_judged(one), **tested.get(name, {})} for name, one in found.items()})


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


def remedy_lines(path: Path) -> list[str]:
    """Return what is known, as Markdown."""
    if not path.is_file():
        return [
            "**Not run yet**; it needs the short form's first run, and tasks that lose something beside their twins."
        ]
    lines = ["| task | metric | validation | kept? | test | gain | 95 % interval | p (Holm) |", "|---" * 8 + "|"]
    for name, found in read_json(path).items():
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
