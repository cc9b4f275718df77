"""When a run needs more than one update left out: going back, a lower learning rate, or an end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from banyan.train.health.config import HealthConfig
from banyan.train.health.signals import Finding
from banyan.train.remedies import LowerRate, Remedy, Rewind, ShrinkScores, Stop

MAX_REWINDS = 3
# A cut that did not help is followed by a deeper one: 0.7, then a fifth, then a fiftieth of the planned rate.
RATE_FACTORS = (0.7, 0.3, 0.1)
_RECENT = 1000  # steps within which a second rewind counts as the first one not having helped

_BROKEN, _BROKEN_WINDOW = 3, 50  # updates that were no numbers, among so many steps: the weights are at fault
CHRONIC, CHRONIC_WINDOW = 5, 1000  # spikes, among so many steps; 0.5 %, as OLMo-core's SpikeScore
_LOWER_EVERY = 500  # steps between two cuts for the same reason
_LOWER_BY: Mapping[str, float] = {"plateau": 0.5}
_LOWER_BY_DEFAULT = 0.7


class Cures:
    """Counts what went wrong and says when to act."""

    def __init__(self, config: HealthConfig) -> None:
        self._config = config
        self._broken: list[int] = []  # steps without a number
        self._spikes: list[int] = []  # steps at which an episode of spikes began
        self._last_spike = -CHRONIC_WINDOW
        self._rewinds: list[int] = []  # steps from which the run went back
        self._lowered_at: dict[str, int] = {}

    @property
    def num_rewinds(self) -> int:
        """How often the run went back."""
        return len(self._rewinds)

    def not_finite(self, *, step: int) -> list[Remedy]:
        """Count an update that was no number."""
        self._broken = [*(s for s in self._broken if step - _BROKEN_WINDOW < s < step), step]
        if len(self._broken) < _BROKEN:
            return []
        first, self._broken = self._broken[0], []
        reason = f"{_BROKEN} updates within {_BROKEN_WINDOW} steps were not numbers"
        return self._rewind(step=step, sound_until=first - 1, reason=reason)

    def diverged(self, finding: Finding, *, step: int, sound_until: int) -> list[Remedy]:
        """Go back: the weights are no longer sound."""
        reason = f"the loss is {finding.value:.3g} above its best or its usual spread (bound {finding.threshold:.3g})"
        return self._rewind(step=step, sound_until=sound_until, reason=reason)

    def spiked(self, *, step: int) -> tuple[list[Remedy], Finding | None]:
        """Count a spike; spikes in consecutive steps are one."""
        is_new, self._last_spike = step > self._last_spike + 1, step
        if is_new:
            self._spikes = [*(s for s in self._spikes if step - CHRONIC_WINDOW < s < step), step]
        if not is_new or len(self._spikes) < CHRONIC:
            return [], None
        finding = Finding(signal="chronic_spikes", value=len(self._spikes), threshold=CHRONIC)
        self._spikes = []
        return self.lower_rate(finding, step=step), finding

    def lower_rate(self, finding: Finding, *, step: int) -> list[Remedy]:
        """Lower the learning rate, unless that was just done for the same reason."""
        is_due = step - self._lowered_at.get(finding.signal, -_LOWER_EVERY) >= _LOWER_EVERY
        if not self._config.lower_rate or not is_due:
            return []
        self._lowered_at[finding.signal] = step
        return [LowerRate(rate_factor=_LOWER_BY.get(finding.signal, _LOWER_BY_DEFAULT), reason=finding.signal)]

    def large_scores(self, finding: Finding, *, step: int, can_shrink: bool) -> list[Remedy]:
        """Bring the attention scores of a layer back to their bound, or at least slow their growth."""
        if not (self._config.shrink_scores and can_shrink) or finding.where is None:
            return self.lower_rate(finding, step=step)
        return [ShrinkScores(layer=finding.where, factor=finding.threshold / finding.value)]

    def _rewind(self, *, step: int, sound_until: int, reason: str) -> list[Remedy]:
        if not self._config.rewind:
            return []
        if len(self._rewinds) >= MAX_REWINDS:
            hint = "lower optimizer.learning_rate and optimizer.matrix_learning_rate, or warm up for longer"
            gone_back = f"the run went back {MAX_REWINDS} times and diverged again at step {step}: {reason}."
            return [Stop(reason=gone_back, hint=hint)] if self._config.stop else []
        num_recent = sum(abs(step - earlier) < _RECENT for earlier in self._rewinds)
        self._rewinds.append(step)
        factor = RATE_FACTORS[min(num_recent, len(RATE_FACTORS) - 1)] if self._config.lower_rate else 1.0
        return [Rewind(sound_until=sound_until, rate_factor=factor, reason=reason)]

    def state(self) -> dict[str, Any]:
        """Return everything, ready for JSON."""
        return {
            "broken": self._broken,
            "spikes": self._spikes,
            "last_spike": self._last_spike,
            "rewinds": self._rewinds,
            "lowered_at": dict(self._lowered_at),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on with what `state` returned."""
        self._broken, self._spikes = list(state["broken"]), list(state["spikes"])
        self._last_spike, self._rewinds = state["last_spike"], list(state["rewinds"])
        self._lowered_at = dict(state["lowered_at"])
