"""Tiny runs for the tests of transfer: a parent of two tasks, and children of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from banyan.core.config import config_from_mapping
from banyan.workflows.recipe import Recipe
from banyan.workflows.reporter import SilentReporter
from banyan.workflows.training import TrainingOutcome, train

_MODEL = {"num_layers": 2, "num_heads": 2, "num_kv_heads": 1, "embed_dim": 16, "head_dim": 8, "ffn_dim": 32}


class TransferRuns:
    """Rows of four tasks in a folder, and runs that learn them there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        texts = [{"text": f"the cat of house {n} sat on mat {n * 3}"} for n in range(24)]
        films = [{"text": f"{('bad', 'good')[n % 2]} film {n}", "label": ("neg", "pos")[n % 2]} for n in range(24)]
        trips = [{"text": f"{('sea', 'oak')[n % 2]} trip {n}", "label": ("water", "land")[n % 2]} for n in range(24)]
        spans = [
            {"context": f"f{n}(width={n})", "question": "width?", "answers": [{"text": str(n), "start": 9 + (n > 9)}]}
            for n in range(24)
        ]
        rows_of: dict[str, list[Any]] = {"text": texts, "film": films, "trip": trips, "width": spans}
        for name, rows in rows_of.items():
            self.rows(name).write_text("".join(json.dumps(row) + "\n" for row in rows))

    def rows(self, name: str) -> Path:
        """Return the file of a task's rows."""
        return self.folder / f"{name}.jsonl"

    def task(self, name: str, kind: str = "classification", **keys: Any) -> dict[str, Any]:
        """Return a task of a recipe, scored on what it learns from."""
        rows = str(self.rows(name))
        return {"name": name, "kind": kind, "data": {"train": rows, "validation": rows, "test": rows}, **keys}

    def recipe(self, name: str, tasks: list[dict[str, Any]], **keys: Any) -> Recipe:
        """Return a recipe of a few steps; `keys` are its further sections."""
        steps = {"steps": 4, "seq_len": 32, "micro_batch_seqs": 2, "evaluate_every": 4, "log_every": 1}
        own = {
            "train": steps | keys.pop("train", {}),
            "evaluation": {"max_validation_examples": 4, "max_test_examples": 4},
            "tokenizer": {"vocab_size": 300},
        }
        return config_from_mapping(Recipe, {"name": name, "tasks": tasks, **own, **keys})

    def run(
        self, name: str, tasks: list[dict[str, Any]], *, resume: bool = False, callbacks: Any = (), **keys: Any
    ) -> TrainingOutcome:
        """Train a recipe in a run folder of its name."""
        recipe = self.recipe(name, tasks, **keys)
        run = self.folder / name
        return train(recipe, reporter=SilentReporter(), run_directory=run, resume=resume, callbacks=callbacks)

    def parent(self) -> Path:
        """Train a parent that knows a text and a classification, and return its run."""
        tasks = [self.task("text", "language_modeling"), self.task("film")]
        return self.run("parent", tasks, model=_MODEL).run_directory


def weights_of(directory: Path) -> bytes:
    """Return all weights of a model directory, and what its optimizer remembers."""
    names = ("model.safetensors", "extras.safetensors", "optimizer.safetensors")
    return b"".join((directory / name).read_bytes() for name in names if (directory / name).is_file())


def losses_of(run: Path) -> list[float]:
    """Return the loss of every step of a run."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]
