"""The ways to learn that are compared, each as a recipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from banyan.model.transformer import Transformer, count_parameters
from proofs.transfer.grid import Cell, DataSet

_SEQ_LEN = 256
_CONTINUED_STEPS = 150
_HEAD_RATE = 0.03  # of a fresh head beside other weights that learn; it begins at zero


@dataclass(frozen=True, kw_only=True, slots=True)
class Models:
    """Where the trunk lies, and where it went on to learn each domain's raw text."""

    trunk: Path
    continued: dict[str, Path]


def _scratch(models: Models, cell: Cell) -> dict[str, Any]:
    return {"model": {"preset": "banyan-micro"}, "tokenizer": {"path": str(models.trunk / "tokenizer.json")}}


def _head(models: Models, cell: Cell) -> dict[str, Any]:
    return {"transfer": {"parent": str(models.trunk), "mode": "head", "keep_tasks": False}}


def _full(models: Models, cell: Cell) -> dict[str, Any]:
    return {"transfer": {"parent": str(models.trunk), "mode": "full", "keep_tasks": False}}


def _lora(models: Models, cell: Cell) -> dict[str, Any]:
    transfer = {"parent": str(models.trunk), "mode": "full", "keep_tasks": False}
    return {"transfer": {**transfer, "lora": {"rank": 4, "alpha": 8, "targets": ["attention", "feed_forward"]}}}


def _continued(models: Models, cell: Cell) -> dict[str, Any]:
    return {"transfer": {"parent": str(models.continued[cell.data.name]), "mode": "full", "keep_tasks": False}}


def _heads_alone(model: Transformer) -> int:
    return count_parameters(model.heads)


def _adapter_and_heads(model: Transformer) -> int:
    named = model.named_parameters()
    return sum(weight.numel() for name, weight in named if "adapters" in name or name.startswith("heads."))


@dataclass(frozen=True, kw_only=True, slots=True)
class Learner:
    """A way to learn and how fast it does so, as a factor on the default learning rates."""

    about: str
    changes: Callable[[Models, Cell], dict[str, Any]]
    num_trained: Callable[[Transformer], int]  # weights that learn
    rate: float | None  # None: the best of three on the validation split, for each data set and size


LEARNERS: dict[str, Learner] = {
    "scratch": Learner(
        about="fresh weights, the best of three learning rates",
        changes=_scratch,
        num_trained=count_parameters,
        rate=None,
    ),
    "head": Learner(
        about="the trunk stays, its features are computed once", changes=_head, num_trained=_heads_alone, rate=30.0
    ),
    "full": Learner(about="every weight learns", changes=_full, num_trained=count_parameters, rate=0.3),
    "lora": Learner(
        about="rank 4 beside the matrices of every block",
        changes=_lora,
        num_trained=_adapter_and_heads,
        rate=0.5,
    ),
    "continue+full": Learner(
        about="first the domain's raw text, then every weight",
        changes=_continued,
        num_trained=count_parameters,
        rate=0.3,
    ),
}


def recipe_of(cell: Cell, models: Models, *, rows: Path, rate: float) -> dict[str, Any]:
    """Return the recipe of a run; `rows` holds its training examples, `rate` multiplies the learning rates."""
    task: dict[str, Any] = {
        "name": cell.data.name,
        "kind": cell.data.kind,
        "data": {"train": str(rows), "validation": cell.data.name, "test": cell.data.name},
    }
    if cell.data.labels:
        task |= {"labels": list(cell.data.labels), "pooling": "mean"}
    return {
        "name": "transfer-proof",
        "seed": cell.seed,
        "device": "cpu",
        "train": _lengths(cell.steps, rows_per_step=cell.data.rows_per_step),
        "optimizer": _rates(rate, of_head=None if cell.method == "head" else _HEAD_RATE),
        "evaluation": {"num_validations": 4, "max_validation_examples": 250},
        "tasks": [task],
        **LEARNERS[cell.method].changes(models, cell),
    }


def continuation_of(data: DataSet, models: Models, *, texts: dict[str, Path]) -> dict[str, Any]:
    """Return the recipe that lets the trunk read a domain's text, a file for each set, without its labels."""
    return {
        "name": f"transfer-proof-{data.name}",
        "device": "cpu",
        "train": _lengths(_CONTINUED_STEPS, rows_per_step=8),
        "optimizer": _rates(0.3, of_head=None),
        "tasks": [
            {
                "name": f"{name}_text",
                "kind": "language_modeling",
                "data": {"train": str(texts[name]), "validation_fraction": 0.02},
                "masks": {"prefix": 0.3, "full": 0.2},
            }
            for name in data.raw_text
        ],
        "transfer": {"parent": str(models.trunk), "mode": "continue"},
    }


def _lengths(steps: int, *, rows_per_step: int) -> dict[str, Any]:
    return {
        "steps": steps,
        "seq_len": _SEQ_LEN,
        "micro_batch_seqs": rows_per_step,
        "keep_checkpoints": 1,
        "checkpoint_every": steps,
        "background_saves": False,
    }


def _rates(factor: float, *, of_head: float | None) -> dict[str, float | None]:
    usual = {"learning_rate": 3e-3, "matrix_learning_rate": 0.01, "embedding_learning_rate": 0.02}
    return {**{name: value * factor for name, value in usual.items()}, "head_learning_rate": of_head}
