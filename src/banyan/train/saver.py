"""Saving and restoring a run while it goes on: when a save fails, which checkpoint is best, what is kept.

A save in the background writes a copy that was taken when it was asked for; training goes on meanwhile. There is one at
a time: the next save waits for it, and so does whoever needs to know what lies on the disk.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from torch import Tensor, nn

from banyan.core.errors import SpaceError
from banyan.core.files import as_write_error, check_room
from banyan.model.adapters import saved_weights
from banyan.train.callbacks import CheckpointRecord, EventRecord
from banyan.train.checkpoints import CheckpointFolder, Quarantined
from banyan.train.division import Division
from banyan.train.optimizer import ModelOptimizer
from banyan.train.ranks import ALONE, Ranks
from banyan.train.state import (
    STATE_FILE,
    Progress,
    RestoredState,
    WeightFiles,
    frozen_copy,
    frozen_tensors,
    read_state,
    restore_state,
    save_state,
)

SHARDS = "shards"  # folder of a checkpoint whose tensors the ranks have written in pieces
MAX_FAILED_SAVES = 3  # in a row; then the run ends
_OPTIMIZER_FACTOR = 2  # bytes of AdamW's memory for a byte of weights; no optimizer here has more
SaveRecord: TypeAlias = CheckpointRecord | EventRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedParts:
    """All that a checkpoint is made of, beside the progress and the place in the data."""

    model: nn.Module
    optimizer: ModelOptimizer
    division: Division  # how both lie on the ranks
    weight_files: WeightFiles
    settings: Mapping[str, Any]  # the configs of the run, as plain values
    sidecars: Mapping[str, bytes]  # files that make a checkpoint a whole model directory


@dataclass(frozen=True, kw_only=True, slots=True)
class _Job:
    """One checkpoint to write: everything in it as it was when the save was asked for."""

    model: nn.Module
    optimizer_tensors: Mapping[str, Tensor]
    progress: Progress
    loader_state: Mapping[str, Any]
    abandoned: frozenset[int]
    shards: Future[None] | None  # pieces that the ranks are writing; None: the tensors above are all


class RunSaver:
    """Keeps the checkpoints of one run, and the links `best` and `last` beside them."""

    def __init__(
        self,
        run_directory: Path,
        *,
        parts: SavedParts,
        keep: int,
        ranks: Ranks = ALONE,
        in_background: bool = False,
    ) -> None:
        self._folder = CheckpointFolder(run_directory)
        self._parts = parts
        self._keep = keep
        self._ranks = ranks
        self._in_background = in_background
        self._is_told_at_once = ranks.world_size == 1  # several ranks agree on what became of a save at the next one
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="banyan-save")
        self._pending: tuple[_Job, Future[CheckpointRecord]] | None = None
        self._failed_saves = 0
        self._saved_best: tuple[int | None, float | None] = (None, None)
        self._abandoned: set[int] = set()  # saved on a way that the run has gone back from

    def check_fresh(self) -> tuple[None, list[EventRecord]]:
        """Refuse to start a run where one has already saved; there is nothing to restore.

        Raises: ConfigError; SpaceError if there is no room for two checkpoints, or nothing can be written.
        """
        if self._ranks.is_main:
            self._folder.clean()
            self._folder.require_fresh()
            check_room(self._folder.run_directory, num_bytes=2 * self._checkpoint_bytes())
        return None, []

    def restore(self) -> tuple[RestoredState | None, list[EventRecord]]:
        """Go back to the newest checkpoint that can be trusted; None if the run has not saved yet.

        Raises: CheckpointError if there are checkpoints, but none that can be used; SpaceError if there is no room
        for the next one.
        """
        step, quarantined = self._newest_valid()
        if self._ranks.is_main:
            check_room(self._folder.run_directory, num_bytes=self._checkpoint_bytes())
        events = [
            EventRecord(step=step or 0, kind="checkpoint_quarantined", detail={"path": str(q.path), "reason": q.reason})
            for q in quarantined
        ]
        if step is None:
            return None, events
        restored = self._read(step)
        self._saved_best = (restored.progress.best_step, restored.progress.best_score)
        if self._ranks.is_main:
            self._link(restored.progress)
        if restored.settings != self._parts.settings:
            detail = {"changed": _changes(restored.settings, self._parts.settings)}
            events.append(EventRecord(step=step, kind="settings_changed", detail=detail))
        return restored, events

    def _read(self, step: int) -> RestoredState:
        division, path = self._parts.division, self._folder.path(step)
        if (path / SHARDS).is_dir():
            restored = read_state(path / STATE_FILE)
            division.read_shards(path / SHARDS)
            return restored
        whole = division.blank()
        restored = restore_state(
            path,
            model=whole.model,
            weight_files=self._parts.weight_files,
            optimizer=whole.optimizer,
        )
        division.take(whole)
        return restored

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
        self._wait()
        steps = self._ranks.from_main(self._folder.steps)
        if not steps:
            return None
        chosen = max((s for s in steps if s <= step), default=steps[0])
        return self._read(chosen).progress

    def abandon_after(self, step: int) -> None:
        """Take the later checkpoints as not there; they are removed once a new one is saved."""
        self._wait()
        self._abandoned |= {later for later in self._ranks.from_main(self._folder.steps) if later > step}

    def save(self, progress: Progress, *, loader_state: Mapping[str, Any], must_succeed: bool) -> list[SaveRecord]:
        """Save the run as it stands; only the main rank writes, and returns what has become of this save and others.

        A save that must succeed is written at once; what becomes of one in the background is told by `finished`.
        A full disk is survived, with an event, until it happens three times in a row.
        Raises: SpaceError at the third failure, or at the first one if the save must succeed.
        """
        records = self.finished(progress, wait=True)
        in_background = self._in_background and not must_succeed
        with self._parts.optimizer.averaged():
            job = self._job(progress, loader_state, is_copy=in_background and self._ranks.is_main)
            if self._ranks.is_main:
                self._pending = (job, self._thread.submit(self._write, job))
                if not in_background:
                    records += self.finished(progress, wait=True, must_succeed=must_succeed)
        # A save that failed has lost the new best.
        progress.best_step = self._ranks.from_main(lambda: progress.best_step)
        progress.best_score = self._ranks.from_main(lambda: progress.best_score)
        self._abandoned = set(self._ranks.from_main(lambda: sorted(self._abandoned)))
        return records

    def finished(self, progress: Progress, *, wait: bool = False, must_succeed: bool = False) -> list[SaveRecord]:
        """Return what has become of the save in the background, once; nothing while it goes on, unless told to wait.

        Raises: as `save`.
        """
        if self._pending is None or not (wait or (self._is_told_at_once and self._pending[1].done())):
            return []
        (job, future), self._pending = self._pending, None
        try:
            record = future.result()
        except SpaceError as error:
            return [self._note_failure(error, job, progress, must_succeed=must_succeed)]
        self._failed_saves = 0
        self._saved_best = (job.progress.best_step, job.progress.best_score)
        self._abandoned -= job.abandoned
        return [record]

    def _note_failure(self, error: SpaceError, job: _Job, progress: Progress, *, must_succeed: bool) -> EventRecord:
        if progress.best_step == job.progress.best_step:  # the new best was lost with the save
            progress.best_step, progress.best_score = self._saved_best
        self._failed_saves += 1
        if must_succeed or self._failed_saves >= MAX_FAILED_SAVES:
            raise error
        return EventRecord(step=job.progress.step, kind="checkpoint_failed", detail={"reason": error.message})

    def _wait(self) -> None:
        """Let the save in the background come to its end; `finished` still tells of it."""
        if self._pending is not None:
            self._pending[1].exception()

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

    def _job(self, progress: Progress, loader_state: Mapping[str, Any], *, is_copy: bool) -> _Job:
        shards = self._parts.division.begin_shards(self._folder.shards(progress.step))
        whole = self._parts.division.gather()
        tensors = whole.optimizer.tensors()
        return _Job(
            model=frozen_copy(whole.model) if is_copy else whole.model,
            optimizer_tensors=frozen_tensors(tensors) if is_copy else tensors,
            progress=copy.deepcopy(progress),
            loader_state=copy.deepcopy(loader_state),
            abandoned=frozenset(self._abandoned),
            shards=shards,
        )

    def _write(self, job: _Job) -> CheckpointRecord:
        """Write a checkpoint, let the links name it, and remove what is no longer kept."""
        started = time.perf_counter()
        progress, path = job.progress, self._folder.path(job.progress.step)
        # Saved by an interrupt, then evaluated on resume: the weights are the same.
        if not path.is_dir() or progress.step in job.abandoned:
            with self._folder.new(progress.step) as directory:
                if job.shards is not None:
                    _take_in(job.shards, self._folder.shards(progress.step), directory / SHARDS)
                save_state(
                    directory,
                    model=job.model,
                    weight_files=self._parts.weight_files,
                    optimizer_tensors=job.optimizer_tensors,
                    progress=progress,
                    loader_state=job.loader_state,
                    settings=self._parts.settings,
                    sidecars=self._parts.sidecars,
                )
        for step in job.abandoned - {progress.step}:
            self._folder.hide(step)
        self._link(progress)
        self._folder.purge(keep=self._keep, protect=progress.best_step)
        return CheckpointRecord(
            step=progress.step,
            path=path,
            size_bytes=sum(file.stat().st_size for file in path.iterdir()),
            is_best=self.best_step(progress) == progress.step,
            seconds=time.perf_counter() - started,
        )

    def _checkpoint_bytes(self) -> int:
        """Return how large a checkpoint is at most."""
        own = saved_weights(self._parts.model).values()
        weights = sum(parameter.numel() * parameter.element_size() for parameter in own)
        num_copies = 1 + _OPTIMIZER_FACTOR + self._parts.optimizer.is_averaging
        return num_copies * weights + sum(map(len, self._parts.sidecars.values()))

    def _link(self, progress: Progress) -> None:
        self._folder.link("last", progress.step)
        self._folder.link("best", self.best_step(progress))


def _take_in(writing: Future[None], written: Path, path: Path) -> None:
    """Move the pieces of all ranks into a checkpoint, once they are written."""
    try:
        writing.result()
        written.rename(path)
    except OSError as error:
        raise error if isinstance(error, SpaceError) else as_write_error(error, path) from error


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
