"""The proof of transfer: every way to learn is a recipe, and transfer must beat the best of all that is fresh."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from proofs.transfer.grid import DATA_SETS, Cell, as_row, cells
from proofs.transfer.learners import LEARNERS, Models, can_learn, recipe_of
from proofs.transfer.page import table, verdicts

from banyan.core.config import config_from_mapping
from banyan.workflows.recipe import Recipe

MODELS = Models(trunk=Path("trunk"), continued={data.name: Path("continued") / data.name for data in DATA_SETS})
POSSIBLE = [cell for cell in cells(tuple(LEARNERS)) if cell.seed == 0 and can_learn(cell.data, cell.method)]


@pytest.mark.parametrize("cell", POSSIBLE, ids=lambda cell: cell.name)
def test_every_run_is_a_recipe_and_only_those_with_a_table_have_one(cell: Cell) -> None:
    recipe = config_from_mapping(Recipe, recipe_of(cell, MODELS, rows=Path("rows.jsonl"), rate=1.0), source="test")
    assert recipe.train.steps == cell.steps
    assert bool(recipe.tasks[0].ngram_buckets) == LEARNERS[cell.method].has_table


def scored(cell: Cell) -> dict[str, Any] | None:
    scores = {"scratch": 0.5, "scratch+table": 0.7, "full": 0.72, "continue+full+table": 0.76}
    if cell.method not in scores or cell.data.name == "wnut17":
        return None
    return as_row(cell, score=scores[cell.method], baselines={"naive Bayes": 0.6}, num_parameters=9, num_trained=9)


def test_transfer_must_beat_fresh_weights_with_a_table_too() -> None:
    trec, *_ = verdicts(scored)
    assert "continue+full+table is +6.0 points above the better of fresh weights and naive Bayes (70.0)" in trec
    assert "**met**" in trec


def test_what_a_tagger_cannot_have_and_what_has_not_been_run_are_told_apart() -> None:
    (row,) = (line for line in table(scored) if line.startswith("| wnut17 | 500"))
    assert (row.split("|").count(" – "), row.split("|").count(" not run ")) == (2, 5)
