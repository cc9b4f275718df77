"""How long work speaks to whoever waits for it: the command line brings one that draws bars, a test a silent one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, kw_only=True, slots=True)
class LossTrend:
    """The loss of one task, or of all together, now and on the way here."""

    name: str
    loss: float  # mean since the last view; nats for a task, balanced for all
    course: tuple[float, ...]  # means of equal stretches from the beginning until now


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingView:
    """What a person who watches a training run wants to see."""

    step: int
    num_steps: int
    losses: tuple[LossTrend, ...]  # all tasks together first, then each of them
    learning_rate: float
    tokens_per_second: float
    utilisation: float | None = None  # share of the machine's peak that the model's own arithmetic reaches (MFU)
    seconds_left: float | None = None  # evaluations and saves included; None: too early to say
    score: float | None = None  # of the last evaluation
    scored_step: int | None = None
    best_score: float | None = None
    sample: str = ""  # the last one, on one line


class Reporter(Protocol):
    """Hears what a workflow is doing."""

    @property
    def is_live(self) -> bool:
        """Does somebody watch a terminal?"""
        ...

    def stage(self, name: str) -> None:
        """Say that a new stage begins; the one before is over."""

    def progress(self, done: float, total: float, *, note: str = "") -> None:
        """Say how far the current stage is; `note` holds figures worth showing, such as loss and throughput."""

    def training(self, view: TrainingView) -> None:
        """Show how the training goes; called a few times a second."""

    def line(self, text: str) -> None:
        """Say something that should stay readable afterwards."""

    def close(self) -> None:
        """Say that the last stage is over."""


class SilentReporter:
    """Says nothing."""

    is_live = False

    def stage(self, name: str) -> None:
        """Ignore it."""

    def progress(self, done: float, total: float, *, note: str = "") -> None:
        """Ignore it."""

    def training(self, view: TrainingView) -> None:
        """Ignore it."""

    def line(self, text: str) -> None:
        """Ignore it."""

    def close(self) -> None:
        """Ignore it."""
