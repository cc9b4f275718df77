"""What a run's watch has told: one event for each episode, and another one, fifty steps later, on how it went."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from banyan.train.callbacks import EventRecord
from banyan.train.health.signals import SIGNALS, Action, Finding

FOLLOW_UP = 50  # steps
_RECENT = 64  # steps whose loss and gradient an event carries


class Ledger:
    """Turns findings into events. The same signal at the same place within fifty steps is the same episode."""

    def __init__(self) -> None:
        self._open: dict[str, dict[str, Any]] = {}  # episodes that are not followed up yet, by signal and place
        self._recent: list[list[float | None]] = []  # step, loss, gradient norm
        self._events: list[EventRecord] = []
        self.last_signal = ""

    def note_step(self, *, step: int, loss: float, grad_norm: float) -> None:
        """Remember a step for the events to come."""
        self._recent.append([step, _number(loss), _number(grad_norm)])
        del self._recent[:-_RECENT]

    def tell(
        self,
        finding: Finding,
        *,
        step: int,
        action: Action,
        usual_loss: float,
        samples: Mapping[str, Any],
        is_decisive: bool = True,
    ) -> None:
        """Make an event of a finding, unless its episode has one; `samples` says what was in the batch.

        What is not decisive may rest on this process alone, such as its pace, and is not remembered over a resume.
        """
        self.last_signal = finding.signal
        key = f"{finding.signal}/{finding.where or ''}"
        if key in self._open:
            self._open[key]["count"] += 1
            self._open[key]["last_step"] = step
            return
        self._open[key] = {
            "step": step,
            "last_step": step,
            "count": 1,
            "action": action,
            "loss": usual_loss,
            "is_decisive": is_decisive,
        }
        detail = {
            "signal": finding.signal,
            "means": SIGNALS[finding.signal].means,
            "value": _number(finding.value),
            "threshold": _number(finding.threshold),
            "where": finding.where,
            "action": action,
            "recent": list(self._recent),
            **{name: value() if callable(value) else value for name, value in samples.items()},
        }
        self._events.append(EventRecord(step=step, kind="alarm", detail=detail))

    def note(self, event: EventRecord) -> None:
        """Pass on an event that is no alarm."""
        self._events.append(event)

    def follow_up(self, *, step: int, usual_loss: float) -> None:
        """Report on the episodes whose last sign is fifty steps old."""
        for key, episode in list(self._open.items()):
            if step - episode["last_step"] < FOLLOW_UP:
                continue
            del self._open[key]
            signal, _, where = key.partition("/")
            detail = {
                "signal": signal,
                "where": where or None,
                "since": episode["step"],
                "count": episode["count"],
                "action": episode["action"],
                "loss_before": episode["loss"],
                "loss_after": usual_loss,
            }
            self._events.append(EventRecord(step=step, kind="alarm_followed_up", detail=detail))

    def rewound(self, step: int) -> None:
        """Count the fifty steps from where the run goes on."""
        for episode in self._open.values():
            episode["last_step"] = step
        self._recent = []

    def take(self) -> list[EventRecord]:
        """Return the events since the last time."""
        events, self._events = self._events, []
        return events

    def state(self) -> dict[str, Any]:
        """Return what later events depend on, ready for JSON."""
        return {"open": {key: dict(episode) for key, episode in self._open.items() if episode["is_decisive"]}}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on with what `state` returned."""
        self._open = {key: dict(episode) for key, episode in state["open"].items()}


def _number(value: float) -> float | None:
    """Return what JSON can say."""
    return value if math.isfinite(value) else None
