"""Rows in a file, and the material of a recipe with one task that learns them; for tests only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from banyan.core.config import config_from_mapping
from banyan.core.types import Row
from banyan.workflows.material import Material, gather_material
from banyan.workflows.recipe import Recipe
from banyan.workflows.reporter import SilentReporter


class Gatherer:
    """Writes rows, and gathers the material of one task that learns them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __call__(
        self, kind: str, rows: Sequence[Row], *, folder: str = "run", task: Any = None, **changes: Any
    ) -> Material:
        """Return the material of rows.jsonl; `task` are further keys of the task, `changes` keys of the recipe."""
        path = self._directory / "rows.jsonl"
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        recipe = {
            "name": "x",
            "tokenizer": {"vocab_size": 260},
            "train": {"seq_len": 48},
            "tasks": [{"name": "it", "kind": kind, "data": {"train": str(path)}, **(task or {})}],
        }
        given = config_from_mapping(Recipe, recipe | changes)
        return gather_material(given, self._directory / folder, reporter=SilentReporter())


def labelled_rows(num: int) -> list[Row]:
    """Return rows of a classification with two labels in turn."""
    return [{"text": f"thing {n}", "label": "ab"[n % 2]} for n in range(num)]
