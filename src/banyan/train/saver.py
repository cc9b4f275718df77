"""Saving and restoring a run while it goes on: when a save fails, which checkpoint is best, what is kept."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from banyan.core.errors import SpaceError
from banyan.train.callbacks import CheckpointRecord, EventRecord
from banyan.train.checkpoints import CheckpointFolder, Quarantined
from banyan.train.optimizer import ModelOptimizer
from banyan.train.ranks import ALONE, Ranks
from banyan.train.state import Progress, RestoredState, WeightFiles, restore_state, save_state

MAX_FAILED_SAVES = 3  # in a row; then the run ends


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedParts:
    """All that a checkpoint is made of, beside the progress and the place in the data."""

    model: nn.Module
    optimizer: ModelOptimizer
    weight_files: WeightFiles
    settings: Mapping[str, Any]  # the configs of the run, as plain values
    sidecars: Mapping[str, bytes]  # files that make a checkpoint a whole model directory


class RunSaver:
    """Keeps the checkpoints of one run, and the links `best` and `last` beside them."""

    def __init__(self, run_directory: Path, *, parts: SavedParts, keep: int, ranks: Ranks = ALONE) -> None:
        self._folder = CheckpointFolder(run_directory)
        self._parts = parts
        self._keep = keep
        self._ranks = ranks
        self._failed_saves = 0
        self._saved_best: tuple[int | None, float | None] = (None, None)
        self._abandoned: set[int] = set()  # saved on a way that the run has gone back from

    def check_fresh(self) -> tuple[None, list[EventRecord]]:
        """Refuse to start a run where one has already saved; there is nothing to restore.

        Raises: ConfigError.
        """
        if self._ranks.is_main:
            self._folder.clean()
            self._folder.require_fresh()
        return None, []

    def restore(self) -> tuple[RestoredState | None, list[EventRecord]]:
        """Go back to the newest checkpoint that can be trusted; None if the run has not saved yet.

        Raises: CheckpointError if there are checkpoints, but none that can be used.
        """
        step, quarantined = self._newest_valid()
        events = [
            EventRecord(step=step or 0, kind="checkpoint_quarantined", detail={"path": str(q.path), "reason": q.reason})
            for q in quarantined
        ]
        if step is None:
            return None, events
        parts = self._parts
        restored = restore_state(
            self._folder.path(step), model=parts.model, weight_files=parts.weight_files, optimizer=parts.optimizer
        )
        self._saved_best = (restored.progress.best_step, restored.progress.best_score)
        if self._ranks.is_main:
            self._link(restored.progress)
        if restored.settings != self._parts.settings:
            detail = {"changed": _changes(restored.settings, self._parts.settings)}
            events.append(EventRecord(step=step, kind="settings_changed", detail=detail))
        return restored, events

    def _newest_valid(self) -> tuple[int | None, list[Quarantined]]:
        quarantined: list[Quarantined] = []

        def look() -> int | None:
            self._folder.clean()
            step, damaged = self._folder.newest_valid()
            quarantined.extend(damaged)
            return step

        return self._ranks.from_main(look), quarantined

    def restore_before(self, step: int) -> Progress | None:
        """Give model and optimizer the newest checkpoint up to a step, or the oldest; None if there is none."""
        steps = self._ranks.from_main(self._folder.steps)
        if not steps:
            return None
        chosen = max((s for s in steps if s <= step), default=steps[0])
        parts = self._parts
        restored = restore_state(
            self._folder.path(chosen), model=parts.model, weight_files=parts.weight_files, optimizer=parts.optimizer
        )
        return restored.progress

    def abandon_after(self, step: int) -> None:
        """Take the later checkpoints as not there; they are removed once a new one is saved."""
        self._abandoned |= {later for later in self._ranks.from_main(self._folder.steps) if later > step}

    def save(
        self, progress: Progress, *, loader_state: Mapping[str, Any], must_succeed: bool
    ) -> CheckpointRecord | EventRecord | None:
        """Save the run as it stands; only the main rank writes, and returns what became of it.

        A full disk is survived, with an event, until it happens three times in a row.
        Raises: SpaceError at the third failure, or at the first one if the save must succeed.
        """
        saved = self._save(progress, loader_state, must_succeed=must_succeed) if self._ranks.is_main else None
        # A save that failed has lost the new best.
        progress.best_step = self._ranks.from_main(lambda: progress.best_step)
        progress.best_score = self._ranks.from_main(lambda: progress.best_score)
        self._abandoned = set(self._ranks.from_main(lambda: sorted(self._abandoned)))
        return saved

    def _save(
        self, progress: Progress, loader_state: Mapping[str, Any], *, must_succeed: bool
    ) -> CheckpointRecord | EventRecord:
        started = time.perf_counter()
        try:
            self._write(progress, loader_state)
            self._link(progress)
        except SpaceError as error:
            progress.best_step, progress.best_score = self._saved_best  # the new best was lost with the save
            self._failed_saves += 1
            if must_succeed or self._failed_saves >= MAX_FAILED_SAVES:
                raise
            return EventRecord(step=progress.step, kind="checkpoint_failed", detail={"reason": error.message})
        self._failed_saves = 0
        self._saved_best = (progress.best_step, progress.best_score)
        self._drop_abandoned(except_step=progress.step)
        self._folder.purge(keep=self._keep, protect=progress.best_step)
        path = self._folder.path(progress.step)
        return CheckpointRecord(
            step=progress.step,
            path=path,
            size_bytes=sum(file.stat().st_size for file in path.iterdir()),
            is_best=self.best_step(progress) == progress.step,
            seconds=time.perf_counter() - started,
        )

    def has(self, step: int) -> bool:
        """Whether a step has a checkpoint."""
        return self._folder.path(step).is_dir() and step not in self._abandoned

    def path(self, step: int) -> Path:
        """Return where the checkpoint of a step lies."""
        return self._folder.path(step)

    def best_step(self, progress: Progress) -> int:
        """Return the step of the best checkpoint; the newest one if nothing was evaluated or the best one is lost."""
        best = progress.best_step
        return best if best is not None and self.has(best) else progress.step

    def _drop_abandoned(self, *, except_step: int) -> None:
        for step in self._abandoned - {except_step}:
            self._folder.discard(step)
        self._abandoned.clear()

    def _write(self, progress: Progress, loader_state: Mapping[str, Any]) -> None:
        if self.has(progress.step):  # saved by an interrupt, then evaluated on resume: the weights are the same
            return
        with self._folder.new(progress.step) as directory:
            save_state(
                directory,
                model=self._parts.model,
                weight_files=self._parts.weight_files,
                optimizer=self._parts.optimizer,
                progress=progress,
                loader_state=loader_state,
                settings=self._parts.settings,
                sidecars=self._parts.sidecars,
            )

    def _link(self, progress: Progress) -> None:
        self._folder.link("last", progress.step)
        self._folder.link("best", self.best_step(progress))


def _changes(before: Mapping[str, Any], now: Mapping[str, Any], *, prefix: str = "") -> dict[str, list[Any]]:
    """Return the settings that differ, by their full key, as [before, now]."""
    changes: dict[str, list[Any]] = {}
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            changes |= _changes(old, new, prefix=f"{prefix}{key}.")
        elif old != new:
            changes[f"{prefix}{key}"] = [old, new]
    return changes
