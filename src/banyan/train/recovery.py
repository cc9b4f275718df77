"""How a run goes back: to a copy of its weights in memory, or to a checkpoint; the data goes on."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

from banyan.core.errors import DivergedError
from banyan.train.callbacks import EventRecord
from banyan.train.health.watch import HealthWatch
from banyan.train.remedies import Rewind
from banyan.train.saver import RunSaver
from banyan.train.snapshots import MARGIN, SnapshotRing
from banyan.train.state import Progress


class Recovery:
    """Takes snapshots as a run goes on, and brings it back to one of them."""

    def __init__(self, watch: HealthWatch, *, snapshots: SnapshotRing, saver: RunSaver, snapshot_every: int) -> None:
        self._watch = watch
        self._snapshots = snapshots
        self._saver = saver
        self._snapshot_every = snapshot_every

    def begin(self, progress: Progress) -> None:
        """Take the first snapshot, where the run begins or goes on."""
        self._snapshots.take(progress, statistics=self._watch.statistics())

    def after_step(self, progress: Progress) -> None:
        """Take a snapshot if it is time."""
        if progress.step % self._snapshot_every == 0:
            self._snapshots.take(progress, statistics=self._watch.statistics())

    def rewind(self, progress: Progress, remedy: Rewind) -> tuple[Progress, EventRecord]:
        """Bring weights and optimizer back; return the progress from which the run goes on, and what to tell.

        Raises: DivergedError if there is nothing to go back to.
        """
        earlier, statistics, source = self._bring_back(remedy)
        # What diverged is the rate of now; one that had been raised since is cured by going back.
        scale = min(progress.learning_rate_scale * remedy.rate_factor, earlier.learning_rate_scale)
        resumed = dataclasses.replace(
            earlier,
            seconds=progress.seconds,  # spent is spent
            num_tokens=progress.num_tokens,
            skipped_steps=progress.skipped_steps,
            learning_rate_scale=scale,
            health=progress.health,
        )
        self._saver.abandon_after(resumed.step)
        self._watch.rewound(step=resumed.step, statistics=statistics)
        detail = {
            "from_step": progress.step,
            "to": source,
            "reason": remedy.reason,
            "learning_rate_scale": scale,
        }
        return resumed, EventRecord(step=resumed.step, kind="rewound", detail=detail)

    def _bring_back(self, remedy: Rewind) -> tuple[Progress, dict[str, Any], str]:
        snapshot = self._snapshots.rewind(sound_until=remedy.sound_until)
        if snapshot is not None:
            return copy.deepcopy(snapshot.progress), copy.deepcopy(dict(snapshot.statistics)), "snapshot"
        restored = self._saver.restore_before(remedy.sound_until - MARGIN)
        if restored is None:
            raise DivergedError(
                f"the run diverged ({remedy.reason}) before it had saved anything to go back to.",
                hint="lower optimizer.learning_rate and optimizer.matrix_learning_rate, or warm up for longer",
            )
        return restored, restored.health, "checkpoint"
