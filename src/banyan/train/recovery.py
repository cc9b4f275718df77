"""How a run goes back: to one of its regular checkpoints, or to its beginning; the data goes on.

Where it goes back to must not depend on whether it was interrupted. So only checkpoints count that every run of the
recipe has by then: those of an interrupt, or of a best score between two of them, do not.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from torch import nn

from banyan.core.errors import DivergedError
from banyan.train.beginning import Beginning, TensorHolder, forget, weight_bytes
from banyan.train.callbacks import EventRecord
from banyan.train.health.config import HealthConfig
from banyan.train.health.watch import HealthWatch
from banyan.train.remedies import Rewind
from banyan.train.saver import RunSaver
from banyan.train.state import Progress

MARGIN = 20  # steps: weights this shortly before the first sign of trouble are not trusted


class Recovery:
    """Brings a run back to sound weights."""

    def __init__(
        self,
        watch: HealthWatch,
        *,
        model: nn.Module,
        optimizer: TensorHolder,
        saver: RunSaver,
        config: HealthConfig,
        first_save: int,  # step of the first regular checkpoint
    ) -> None:
        self._watch = watch
        self._model, self._optimizer = model, optimizer
        self._saver = saver
        self._config = config
        self._first_save = first_save
        self._beginning: Beginning | None = None

    def remember_beginning(self) -> None:
        """Keep the first weights, unless they are too large; to be called before anything is learned or restored."""
        if self._config.keeps_beginning(weight_bytes(self._model)):
            self._beginning = Beginning(self._model, self._optimizer, statistics=self._watch.statistics())

    def rewind(self, progress: Progress, remedy: Rewind) -> tuple[Progress, EventRecord]:
        """Bring weights and optimizer back; return the progress from which the run goes on, and what to tell.

        Raises: DivergedError if there is nothing to go back to.
        """
        earlier, statistics = self._bring_back(remedy)
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
            "to": "checkpoint" if resumed.step else "beginning",
            "reason": remedy.reason,
            "learning_rate_scale": scale,
        }
        return resumed, EventRecord(step=resumed.step, kind="rewound", detail=detail)

    def _bring_back(self, remedy: Rewind) -> tuple[Progress, Mapping[str, Any]]:
        steps = self._steps()
        if not steps:
            raise DivergedError(
                f"the run diverged ({remedy.reason}) before it had saved anything to go back to.",
                hint="lower optimizer.learning_rate and optimizer.matrix_learning_rate, or warm up for longer",
            )
        step = max((step for step in steps if step <= remedy.sound_until - MARGIN), default=steps[0])
        if step == 0 and self._beginning is not None:
            self._beginning.bring_back()
            return Progress(), self._beginning.statistics
        forget(self._optimizer)
        restored = self._saver.bring_back(step)
        return restored, restored.health

    def _steps(self) -> list[int]:
        """Return the steps one can go back to, the oldest first: the beginning, too, until the first save is purged."""
        steps = self._saver.regular_steps()
        is_early = not steps or steps[0] == self._first_save
        return [0, *steps] if is_early and self._beginning is not None else steps
