"""The proof of transfer: every way to learn is a recipe, and transfer must beat both fresh weights and counting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from banyan.core.config import config_from_mapping
from banyan.workflows.recipe import Recipe
from proofs.transfer.grid import DATA_SETS, Cell, as_row, cells
from proofs.transfer.learners import LEARNERS, Models, recipe_of
from proofs.transfer.page import table, verdicts

MODELS = Models(trunk=Path("trunk"), continued={data.name: Path("continued") / data.name for data in DATA_SETS})
FIRST_SEED = [cell for cell in cells(tuple(LEARNERS)) if cell.seed == 0]


@pytest.mark.parametrize("cell", FIRST_SEED, ids=lambda cell: cell.name)
def test_every_run_is_a_recipe(cell: Cell) -> None:
    recipe = config_from_mapping(Recipe, recipe_of(cell, MODELS, rows=Path("rows.jsonl"), rate=1.0), source="test")
    assert recipe.train.steps == cell.steps and recipe.tasks[0].name == cell.data.name


def scored(cell: Cell, *, scratch: float = 0.5) -> dict[str, Any] | None:
    scores = {"scratch": scratch, "full": 0.72, "continue+full": 0.76}
    if cell.method not in scores or cell.data.name == "wnut17":
        return None
    return as_row(cell, score=scores[cell.method], baselines={"naive Bayes": 0.6}, num_parameters=9, num_trained=9)


@pytest.mark.parametrize(("scratch", "gain", "bar"), [(0.5, "+16.0", "60.0"), (0.74, "+2.0", "74.0")])
def test_transfer_must_beat_the_better_of_fresh_weights_and_naive_bayes(scratch: float, gain: str, bar: str) -> None:
    trec, *_ = verdicts(lambda cell: scored(cell, scratch=scratch))
    assert f"continue+full is {gain} points above the better of scratch and naive Bayes ({bar})" in trec
    assert ("**met**" in trec) == (scratch == 0.5)


def test_what_has_not_been_run_is_said() -> None:
    (row,) = (line for line in table(scored) if line.startswith("| wnut17 | 500"))
    assert row.split("|").count(" not run ") == len(LEARNERS)
