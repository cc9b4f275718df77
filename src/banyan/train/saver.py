"""Saving and restoring a run while it goes on: when a save fails, which checkpoint is best, what is kept.

A save in the background writes a copy that was taken when it was asked for; training goes on meanwhile. There is one at
a time: the next save waits for it, and so does whoever needs to know what lies on the disk.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from banyan.core.errors import SpaceError
from banyan.core.files import check_room
from banyan.train.callbacks import CheckpointRecord, EventRecord
from banyan.train.checkpoints import CheckpointFolder, Quarantined
from banyan.train.ranks import ALONE, Ranks
from banyan.train.save_job import SHARDS, SavedParts, SaveJob, take_job, write_job
from banyan.train.state import STATE_FILE, Progress, RestoredState, read_state, restore_state

MAX_FAILED_SAVES = 3  # in a row; then the run ends
SaveRecord: TypeAlias = CheckpointRecord | EventRecord


class RunSaver:
    """Keeps the checkpoints of one run, and the links `best` and `last` beside them."""

    def __init__(
        self,
        run_directory: Path,
        *,
        parts: SavedParts,
        keep: int,  # regular checkpoints, the newest
        is_regular: Callable[[int], bool] = lambda step: True,
        ranks: Ranks = ALONE,
        in_background: bool = False,
    ) -> None:
        self._folder = CheckpointFolder(run_directory)
        self._parts = parts
        self._keep = keep
        self._is_regular = is_regular
        self._ranks = ranks
        self._in_background = in_background
        self._is_told_at_once = ranks.world_size == 1  # several ranks agree on what became of a save at the next one
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="banyan-save")
        self._pending: tuple[SaveJob, Future[CheckpointRecord]] | None = None
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
            check_room(self._folder.run_directory, num_bytes=2 * self._parts.checkpoint_bytes)
        return None, []

    def restore(self) -> tuple[RestoredState | None, list[EventRecord]]:
        """Go back to the newest checkpoint that can be trusted; None if the run has not saved yet.

        Raises: CheckpointError if there are checkpoints, but none that can be used; SpaceError if there is no room
        for the next one.
        """
        step, quarantined = self._newest_valid()
        if self._ranks.is_main:
            check_room(self._folder.run_directory, num_bytes=self._parts.checkpoint_bytes)
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

    def regular_steps(self) -> list[int]:
        """Return the steps whose checkpoints are there in every run of this recipe, the oldest first.

        Those of an interrupt are not among them, nor is that of a best score at a step that is not regular.
        """
        self._wait()
        return self._ranks.from_main(
            lambda: [step for step in self._folder.steps() if self._is_regular(step) and step not in self._abandoned]
        )

    def bring_back(self, step: int) -> Progress:
        """Give model and optimizer the checkpoint of a step, and return how far the run had come."""
        return self._read(step).progress

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
            job = take_job(
                self._parts,
                progress,
                loader_state=loader_state,
                abandoned=frozenset(self._abandoned),
                shards=self._folder.shards(progress.step),
                is_copy=in_background and self._ranks.is_main,
            )
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
        self._wait()
        (job, future), self._pending = self._pending, None
        try:
            record = future.result()
        except SpaceError as error:
            return [self._note_failure(error, job, progress, must_succeed=must_succeed)]
        self._failed_saves = 0
        self._saved_best = (job.progress.best_step, job.progress.best_score)
        return [record]

    def _note_failure(self, error: SpaceError, job: SaveJob, progress: Progress, *, must_succeed: bool) -> EventRecord:
        if progress.best_step == job.progress.best_step:  # the new best was lost with the save
            progress.best_step, progress.best_score = self._saved_best
        self._failed_saves += 1
        if must_succeed or self._failed_saves >= MAX_FAILED_SAVES:
            raise error
        return EventRecord(step=job.progress.step, kind="checkpoint_failed", detail={"reason": error.message})

    def _wait(self) -> None:
        """Let the save in the background come to its end; `finished` still tells of it."""
        if self._pending is None:
            return
        job, future = self._pending
        if future.exception() is None:  # what it took out of sight is so once: the run may go back from there again
            self._abandoned -= job.abandoned
            self._pending = (replace(job, abandoned=frozenset()), future)

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

    def _write(self, job: SaveJob) -> CheckpointRecord:
        """Write a checkpoint, let the links name it, and remove what is no longer kept."""
        started = time.perf_counter()
        progress, path = job.progress, self._folder.path(job.progress.step)
        with self._folder.new(progress.step) as directory:
            write_job(job, self._parts, directory, shards=self._folder.shards(progress.step))
        for step in job.abandoned - {progress.step}:
            self._folder.hide(step)
        self._link(progress)
        self._folder.purge(keep=self._keep, is_regular=self._is_regular, protect=progress.best_step)
        return CheckpointRecord(
            step=progress.step,
            path=path,
            size_bytes=sum(file.stat().st_size for file in path.iterdir()),
            is_best=self.best_step(progress) == progress.step,
            seconds=time.perf_counter() - started,
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
