"""Whether a run still gets anywhere, and at what pace."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from banyan.train.callbacks import EvaluationRecord, StepRecord
from banyan.train.health.signals import Finding
from banyan.train.health.statistics import Usual

_BLOCK = 50  # steps whose losses are kept as one mean
_PLATEAU_SHARE = 0.2  # of the run's steps
_PLATEAU_FROM = 0.4
_PLATEAU_NATS = 1e-4  # per 100 steps
_PLATEAU_STEPS = 1000  # a shorter stretch is too noisy to tell
_PEAK_SHARE = 0.9  # of the highest learning rate so far: it has not fallen yet

_WORSE_EVALUATIONS = 3
_WORSE_SHARE = 0.05  # of the best score

_STUCK_STEPS = 300
_STUCK_NATS = 0.3
_STUCK_SHARE = 0.04  # of what a guesser scores, where that is little

_SLOWER = 1.5  # times the usual seconds of a step
_PACE_STEPS = 20  # whose middle is the pace
_PACE_MEMORY = 25  # paces
_INPUT_SHARE = 0.2


class LossCourse:
    """Follows the loss of a whole run: does it start to fall, does it stop falling?"""

    def __init__(self, *, nats_per_unit: float, task_scales: Sequence[float], task_names: Sequence[str]) -> None:
        self._nats_per_unit = nats_per_unit
        self._scales = dict(zip(task_names, task_scales, strict=True))
        self._losses = {name: Usual(window=50) for name in task_names}
        self._blocks: list[float] = []
        self._block: list[float] = []
        self._highest_rate = 0.0
        self._is_told = False

    def add(self, record: StepRecord) -> list[Finding]:
        """Take in a step and return what it shows."""
        self._highest_rate = max(self._highest_rate, record.learning_rate)
        if not math.isfinite(record.loss):
            return []
        return [*self._stuck(record), *self._plateau(record)]

    def _stuck(self, record: StepRecord) -> list[Finding]:
        """A task that was in three hundred steps is still answered as by a guesser."""
        findings = []
        for name, loss in record.task_losses.items():
            usual, scale = self._losses[name], self._scales[name]
            usual.add(loss)
            bound = scale - min(_STUCK_NATS, _STUCK_SHARE * scale)
            if usual.count == _STUCK_STEPS and usual.mean > bound:
                findings.append(Finding(signal="stuck_start", value=usual.mean, threshold=bound, where=name))
        return findings

    def _plateau(self, record: StepRecord) -> list[Finding]:
        self._block.append(record.loss)
        if len(self._block) < _BLOCK:
            return []
        self._blocks, self._block = [*self._blocks, statistics.fmean(self._block)], []
        num = max(int(_PLATEAU_SHARE * record.num_steps), _PLATEAU_STEPS) // _BLOCK
        has_fallen = record.learning_rate < _PEAK_SHARE * self._highest_rate
        if self._is_told or has_fallen or record.step < _PLATEAU_FROM * record.num_steps or len(self._blocks) < num:
            return []
        slope = statistics.linear_regression(range(num), self._blocks[-num:]).slope
        nats = slope * self._nats_per_unit * 100 / _BLOCK
        if nats <= -_PLATEAU_NATS:
            return []
        self._is_told = True
        return [Finding(signal="plateau", value=nats, threshold=-_PLATEAU_NATS)]

    def state(self) -> dict[str, Any]:
        """Return everything, ready for JSON."""
        return {
            "losses": {name: usual.state() for name, usual in self._losses.items()},
            "blocks": list(self._blocks),
            "block": list(self._block),
            "highest_rate": self._highest_rate,
            "is_told": self._is_told,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on with what `state` returned."""
        self._losses = {name: Usual(**entry) for name, entry in state["losses"].items()}
        self._blocks, self._block = list(state["blocks"]), list(state["block"])
        self._highest_rate, self._is_told = state["highest_rate"], state["is_told"]


class ScoreCourse:
    """Follows the validation score beside the training loss."""

    def __init__(self) -> None:
        self._loss = Usual(window=50)
        self._points: list[tuple[float, float]] = []  # training loss and score at the last evaluations
        self._best = -math.inf

    def add_step(self, record: StepRecord) -> None:
        """Take in the loss of a step."""
        if math.isfinite(record.loss):
            self._loss.add(record.loss)

    def add_evaluation(self, record: EvaluationRecord) -> list[Finding]:
        """Return the finding if the score fell three times while the loss fell too."""
        if not math.isfinite(record.score):
            return []
        self._best = max(self._best, record.score)
        self._points = [*self._points, (self._loss.mean, record.score)][-_WORSE_EVALUATIONS - 1 :]
        pairs = list(zip(self._points, self._points[1:], strict=False))
        is_worse = len(pairs) == _WORSE_EVALUATIONS and all(b[0] < a[0] and b[1] < a[1] for a, b in pairs)
        bound = self._best - _WORSE_SHARE * abs(self._best)
        if not is_worse or record.score >= bound:
            return []
        self._points = []
        return [Finding(signal="over_fit", value=record.score, threshold=bound)]


class Pace:
    """Follows the seconds of a step and those spent waiting for its data."""

    def __init__(self) -> None:
        self._step_seconds: list[float] = []
        self._input_seconds: list[float] = []
        self._paces: list[float] = []
        self._is_slow = False

    def add(self, *, step_seconds: float, input_seconds: float) -> list[Finding]:
        """Take in a step; every twenty steps, return what the pace shows, once for each slow stretch."""
        self._step_seconds.append(step_seconds)
        self._input_seconds.append(input_seconds)
        if len(self._step_seconds) < _PACE_STEPS:
            return []
        pace, waiting = statistics.median(self._step_seconds), statistics.median(self._input_seconds)
        self._step_seconds, self._input_seconds = [], []
        usual = statistics.median(self._paces) if len(self._paces) >= _PACE_MEMORY else math.inf
        is_slow, is_waiting = pace > _SLOWER * usual, waiting > _INPUT_SHARE * pace
        was_slow, self._is_slow = self._is_slow, is_slow or is_waiting
        self._paces = [*self._paces, pace][-4 * _PACE_MEMORY :]
        if was_slow:
            return []
        if is_waiting:
            return [Finding(signal="slow_input", value=waiting / pace, threshold=_INPUT_SHARE)]
        return [Finding(signal="slow_step", value=pace / usual, threshold=_SLOWER)] if is_slow else []
