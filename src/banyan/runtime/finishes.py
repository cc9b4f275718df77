"""Finishes: adapters inside a model directory, each of which answers one task better than the model alone.

`finishes/<task>/` holds an adapter as `model/peft_format.py` lays it out. All other tasks are answered by the model
itself, to the bit as without them.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from banyan.core.errors import CheckpointError
from banyan.model.peft_format import load_adapter
from banyan.model.transformer import Transformer

FINISHES = "finishes"  # folder of a model directory


def load_finishes(directory: Path, model: Transformer, tasks: Collection[str]) -> dict[str, str]:
    """Give a model the finishes that lie in its directory, and return the adapter of each task that has one.

    Raises: CheckpointError for one of a task that the model was not taught, or that does not fit it.
    """
    folder = directory / FINISHES
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if strange := next((name for name in names if name not in tasks), None):
        raise CheckpointError(f"{folder / strange} is a finish of a task that the model was not taught.")
    for name in names:
        load_adapter(model, folder / name, name=adapter_of(name))
    return {name: adapter_of(name) for name in names}


def adapter_of(task: str) -> str:
    """Return what the adapter of a task's finish is called in the model."""
    return f"finish-{task}"[:64]
