"""Which samples were in the batch of an event: drawn again from the run's data, and decoded."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from banyan.core.errors import BanyanError
from banyan.core.hashing import hash_token_ids
from banyan.data.batch import Batch
from banyan.train.ramps import shape_at
from banyan.workflows.learning import new_loader
from banyan.workflows.material import Material, gather_material
from banyan.workflows.recipe import Recipe
from banyan.workflows.rendering import RENDERED
from banyan.workflows.reporter import SilentReporter

_CHARACTERS = 100  # of a row


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One row of a batch."""

    tasks: tuple[str, ...]
    text: str | None  # how it begins; None: it cannot be drawn again
    sha256: str  # of its token ids, shortened


def samples_of(
    run_directory: Path, recipe: Recipe, *, rows: Sequence[Mapping[str, Any]], place: Mapping[str, Any] | None
) -> tuple[list[Sample], str | None]:
    """Return the rows of the batch at a place of the data, and why their text is missing, if it is.

    Nothing in the run's folder is changed, so the run may be going on.
    """
    texts: dict[str, str] = {}
    problem = None
    try:
        if place is not None:
            texts = _draw_again(run_directory, recipe, place)
    except (BanyanError, KeyError, TypeError, ValueError) as error:
        problem = f"the samples cannot be drawn again: {error}"
    samples = [
        Sample(tasks=tuple(row.get("tasks", ())), text=texts.get(row.get("sha256", "")), sha256=row.get("sha256", ""))
        for row in rows
    ]
    if problem is None and samples and not any(sample.text for sample in samples):
        problem = "the data no longer holds the samples of this batch"
    return samples, problem


def _draw_again(run_directory: Path, recipe: Recipe, place: Mapping[str, Any]) -> dict[str, str]:
    """Return how each row of the batch begins, by the hash of its ids."""
    with tempfile.TemporaryDirectory(prefix="banyan-diagnose-") as name:
        copy = Path(name)
        for folder in ("tokenizer", RENDERED):
            if (run_directory / folder).is_dir():
                shutil.copytree(run_directory / folder, copy / folder)
        if (run_directory / "corpus").is_dir():
            os.symlink((run_directory / "corpus").absolute(), copy / "corpus")
        if (run_directory / "checkpoints").is_dir():  # a run that began with a parent knows its vocabulary from there
            os.symlink((run_directory / "checkpoints").absolute(), copy / "checkpoints")
        material = gather_material(recipe, copy, reporter=SilentReporter())
        loader = new_loader(recipe, material)
        loader.restore(place)
        shape = shape_at(place["step"], recipe.train)
        return _beginnings(loader.next_batch(num_rows=shape.num_rows, seq_len=shape.seq_len), material)


def _beginnings(batch: Batch, material: Material) -> dict[str, str]:
    found = {}
    for token_ids, segments in zip(batch.token_ids, batch.segment_ids, strict=True):
        ids = token_ids[segments >= 0].tolist()
        text = " ".join(material.vocabulary.decode(ids).split())
        found[hash_token_ids([ids])[:16]] = text[:_CHARACTERS] or f"<{len(ids)} ids without text>"
    return found
