"""The judge of an update: are its loss and gradient like those before, and if not, is it the batch or the model?"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from banyan.train.health.config import HealthConfig
from banyan.train.health.gradient import GradientLength
from banyan.train.health.loss import LossSpikes
from banyan.train.health.signals import Action, Finding
from banyan.train.step import Verdict

_WRONG_AFTER = 3  # spikes in a row from a sound model: not one bad batch, but data that does not fit
_ACCEPT_AFTER = 30  # spikes in a row from a sound model: this is what the data is like now


# Losses of the last batch that was learned from, with the weights as they are, and its independent targets.
Earlier = Callable[[], tuple[Sequence[float], Sequence[float]] | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """What a step knows before its update."""

    loss: float
    task_losses: Sequence[float]
    grad_norm: float
    num_independent: Callable[[], Sequence[float]]  # targets of each task that tell something of their own
    clip_norm: float | None
    has_shifted: bool  # the batches hold other tokens than before
    earlier: Earlier


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """A verdict, and the finding it rests on."""

    verdict: Verdict
    finding: Finding | None = None
    action: Action = "reported"


class UpdateJudge:
    """Remembers what is usual and judges every update by it."""

    def __init__(self, *, num_tasks: int, config: HealthConfig) -> None:
        self._config = config
        self._losses = LossSpikes(num_tasks)
        self._gradient = GradientLength()
        self._num_spikes = 0  # in a row
        self._is_sound = True  # the model, since the first of them

    def judge(self, evidence: Evidence) -> Judgement:
        """Judge an update before it is made."""
        if not (math.isfinite(evidence.loss) and math.isfinite(evidence.grad_norm)):
            finding = Finding(signal="not_finite", value=evidence.loss + evidence.grad_norm, threshold=math.inf)
            return _skipped(finding)
        spike = self._losses.spike(evidence.task_losses, evidence.num_independent)
        if spike is not None:
            return self._judge_spike(evidence, spike[1])
        self._num_spikes, self._is_sound = 0, True
        return self._judge_length(evidence)

    def learned(self, evidence: Evidence) -> None:
        """Take in what a judged step showed; a loss that is no number teaches nothing."""
        if not math.isfinite(evidence.loss):
            return
        if self._num_spikes > _ACCEPT_AFTER:
            self._losses.accept(evidence.task_losses)
            self._num_spikes = 0
        elif self._num_spikes == 0 or not self._config.skip:
            self._losses.add(evidence.task_losses)
        self._gradient.add(evidence.grad_norm)

    def _judge_spike(self, evidence: Evidence, spike: Finding) -> Judgement:
        self._num_spikes += 1
        if self._num_spikes == 1:
            self._is_sound = self._still_answers(evidence)
        finding = Finding(signal=self._name(evidence), value=spike.value, threshold=spike.threshold)
        if not self._is_sound:
            return _skipped(finding, action="rewound") if self._config.rewind else _let_through(finding)
        if self._num_spikes > _ACCEPT_AFTER:
            changed = Finding(signal="data_changed", value=spike.value, threshold=spike.threshold)
            return _let_through(changed)
        return _skipped(finding) if self._config.skip else _let_through(finding)

    def _name(self, evidence: Evidence) -> str:
        if not self._is_sound:
            return "diverged"
        if evidence.has_shifted:
            return "wrong_vocabulary"
        return "wrong_targets" if self._num_spikes >= _WRONG_AFTER else "bad_batch"

    def _still_answers(self, evidence: Evidence) -> bool:
        """Ask the model for a batch it has learned: if it fails there too, it is not the new batch that is at fault."""
        earlier = evidence.earlier()
        if earlier is None:
            return True
        losses, num_independent = earlier
        is_finite = all(math.isfinite(loss) or num == 0 for loss, num in zip(losses, num_independent, strict=True))
        return is_finite and self._losses.spike(losses, lambda: num_independent) is None

    def _judge_length(self, evidence: Evidence) -> Judgement:
        spike = self._gradient.spike(evidence.grad_norm)
        if spike is None:
            return Judgement(verdict=Verdict())
        wanted, finding = spike
        clipped = evidence.grad_norm if evidence.clip_norm is None else min(evidence.grad_norm, evidence.clip_norm)
        if not self._config.rescale or wanted >= clipped:
            return _let_through(finding)
        verdict = Verdict(update_scale=wanted / clipped, signal=finding.signal)
        return Judgement(verdict=verdict, finding=finding, action="rescaled")

    def state(self) -> dict[str, Any]:
        """Return everything, ready for JSON."""
        return {
            "losses": self._losses.state(),
            "gradient": self._gradient.state(),
            "num_spikes": self._num_spikes,
            "is_sound": self._is_sound,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on with what `state` returned."""
        self._losses.restore(state["losses"])
        self._gradient.restore(state["gradient"])
        self._num_spikes, self._is_sound = state["num_spikes"], state["is_sound"]


def _skipped(finding: Finding, *, action: Action = "skipped") -> Judgement:
    return Judgement(verdict=Verdict(update_scale=0.0, signal=finding.signal), finding=finding, action=action)


def _let_through(finding: Finding) -> Judgement:
    return Judgement(verdict=Verdict(), finding=finding)
