"""The watch over one run: it looks at every batch, judges every update, and asks for a remedy where one is needed.

What it decides depends on nothing but the batches, the losses and the gradients so far, all of them the same on every
rank, and all of its memory is in the checkpoint: a resumed run decides as one that was never interrupted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from torch import nn

from banyan.data.batch import Batch, TrainableBatch
from banyan.train.balance import TaskBalance
from banyan.train.callbacks import EvaluationRecord, EventRecord, StepRecord
from banyan.train.health.anchors import Anchors, balanced
from banyan.train.health.config import HealthConfig
from banyan.train.health.cures import Cures
from banyan.train.health.data import DataShape, describe_rows
from banyan.train.health.gate import IMPOSSIBLE, KEPT_OUT, BatchGate
from banyan.train.health.judge import Evidence, Judgement, UpdateJudge
from banyan.train.health.ledger import Ledger
from banyan.train.health.loss import LossRise
from banyan.train.health.noise import GradientNoise
from banyan.train.health.reports import Reports
from banyan.train.health.signals import Action, Finding
from banyan.train.layer_rates import LayerRates
from banyan.train.remedies import Remedy, ShrinkScores, Stop
from banyan.train.score_bound import can_shrink_scores
from banyan.train.step import LossFunction, Verdict

LossesOf = Callable[[TrainableBatch], Sequence[float]]  # mean loss of each task in nats, with the weights as they are
FORGOTTEN_NATS = 0.1  # above what an earlier batch scored when it was learned
EXAMPLES_PER_ROW = 4  # at least, in a packed row of a task with a head
Redraw = Callable[[Mapping[str, Any]], TrainableBatch]  # the batch at an earlier place of the data


class HealthWatch:
    """What a run's loop asks before, during and after every step."""

    def __init__(
        self,
        config: HealthConfig,
        *,
        model: nn.Module,
        balance: TaskBalance,
        task_names: Sequence[str],
        shape: DataShape | None,  # None: the batches hold no tokens
        clip_norm: float | None,
        losses_of: LossesOf,
        redraw: Redraw,
        layer_rates: LayerRates | None = None,
    ) -> None:
        self._config = config
        self._model = model
        self._balance = balance
        self._task_names = tuple(task_names)
        self._clip_norm = clip_norm
        self._losses_of, self._redraw = losses_of, redraw
        self._shape = shape
        self._gate = BatchGate(shape)
        self._judge = UpdateJudge(num_tasks=balance.num_tasks, config=config)
        self._rise = LossRise(nats_per_unit=math.fsum(balance.scales) / balance.num_tasks)
        self._anchors = Anchors()
        self._cures = Cures(config)
        self._reports = Reports(config, model=model, balance=balance, task_names=task_names, layer_rates=layer_rates)
        self._noise = GradientNoise(model)
        self._ledger = Ledger()
        self._step = 0
        self._batch: TrainableBatch | None = None
        self._place: Mapping[str, Any] = {}
        self._learned: TrainableBatch | None = None  # the last batch that was learned from …
        self._learned_place: Mapping[str, Any] | None = None  # … and where it stands in the data
        self._evidence: Evidence | None = None
        self._judgement = Judgement(verdict=Verdict())

    def inspect(self, batch: TrainableBatch, *, step: int, place: Mapping[str, Any]) -> Verdict:
        """Look at a batch before anything is computed from it; a verdict of 0 keeps it out altogether."""
        self._step, self._batch, self._place = step, batch, place
        self._evidence, self._judgement = None, Judgement(verdict=Verdict())
        for finding in self._gate.look(batch):
            keeps_out = finding.signal in IMPOSSIBLE or (self._config.skip and finding.signal in KEPT_OUT)
            self._tell(finding, action="skipped" if keeps_out else "reported")
            if keeps_out:
                self._gate.keep_out(step=step)
                return Verdict(update_scale=0.0, signal=finding.signal)
        self._reports.before_step(step=step)
        return Verdict()

    def judge(self, loss: float, task_losses: Sequence[float], grad_norm: float) -> Verdict:
        """Judge the update that the batch leads to."""
        assert self._batch is not None, "a batch is inspected before its update is judged"
        self._evidence = Evidence(
            loss=loss,
            task_losses=task_losses,
            grad_norm=grad_norm,
            num_independent=partial(self._independent_targets, self._batch),
            clip_norm=self._clip_norm,
            has_shifted=self._gate.has_shifted,
            earlier=self._earlier,
        )
        self._judgement = self._judge.judge(self._evidence)
        return self._judgement.verdict

    def listening(self, loss_function: LossFunction, *, step: int) -> LossFunction:
        """Return the loss function for a step, with an ear for the gradient of each micro-batch if it is time."""
        is_due = step % self._config.noise_probe_every == 0
        return self._noise.listening(loss_function) if is_due else loss_function

    def after_step(self, record: StepRecord, *, input_seconds: float) -> list[Remedy]:
        """Take in a step that was made or skipped, and return what should be done about it."""
        assert self._batch is not None, "a step has a batch"
        self._ledger.note_step(step=record.step, loss=record.loss, grad_norm=record.grad_norm)
        remedies = self._answer(self._judgement, step=record.step)
        if self._evidence is not None:
            self._judge.learned(self._evidence)
        if record.is_applied:
            remedies += self._watch_rise(record)
            self._learned, self._learned_place = self._batch, self._place
        for finding in self._reports.after_step(record, self._batch, input_seconds=input_seconds):
            remedies += self._report(finding, step=record.step)
        if self._gate.is_broken and self._config.stop:
            remedies.append(_broken_data(self._ledger.last_signal))
        if (noise := self._noise.after_step(grad_norm=record.grad_norm)) is not None:
            detail = {"noise_over_batch": noise}
            self._ledger.note(EventRecord(step=record.step, kind="gradient_noise", detail=detail))
        self._ledger.follow_up(step=record.step, usual_loss=self._rise.level)
        return remedies

    def after_evaluation(self, record: EvaluationRecord) -> None:
        """Take in the scores of an evaluation."""
        self._step = record.step
        for finding in self._reports.after_evaluation(record):
            self._tell(finding, action="reported", is_decisive=False)

    def take_events(self) -> list[EventRecord]:
        """Return what is to be told since the last time."""
        return self._ledger.take()

    def _answer(self, judgement: Judgement, *, step: int) -> list[Remedy]:
        finding = judgement.finding
        if finding is None:
            return []
        self._tell(finding, action=judgement.action)
        if finding.signal == "not_finite":
            return self._cures.not_finite(step=step)
        if finding.signal == "diverged":
            return self._cures.diverged(finding, step=step, sound_until=step - 1)
        remedies, chronic = self._cures.spiked(step=step)
        if chronic is not None:
            self._tell(chronic, action="rate_lowered" if remedies else "reported")
        return remedies

    def _watch_rise(self, record: StepRecord) -> list[Remedy]:
        rise = self._rise.add(record.loss, step=record.step)
        if rise is None:
            self._anchors.add(record.loss, step=record.step, place=self._place)
            return []
        if rise.is_quick and not self._forgets():
            self._rise.accept()
            self._tell(replace(rise.finding, signal="data_changed"), action="reported")
            return []
        remedies = self._cures.diverged(rise.finding, step=record.step, sound_until=rise.sound_until)
        self._tell(rise.finding, action="rewound" if remedies else "reported")
        return remedies

    def _forgets(self) -> bool:
        """Ask the model for a batch it learned a while ago: if it now fails there too, it is not the data."""
        anchor = self._anchors.earlier
        if anchor is None:
            return True
        losses = self._losses_of(self._redraw(anchor.place))
        worse = balanced(losses, self._balance) - anchor.loss
        return not math.isfinite(worse) or worse > FORGOTTEN_NATS * self._balance.num_tasks / math.fsum(
            self._balance.scales
        )

    def _report(self, finding: Finding, *, step: int) -> list[Remedy]:
        remedies: list[Remedy] = []
        if finding.signal == "attention_logits":
            can_shrink = can_shrink_scores(self._model, finding.where or "")
            remedies = self._cures.large_scores(finding, step=step, can_shrink=can_shrink)
        elif finding.signal == "plateau":
            remedies = self._cures.lower_rate(finding, step=step)
        self._tell(finding, action=_action_of(remedies), is_decisive=False)
        return remedies

    def _tell(self, finding: Finding, *, action: Action, is_decisive: bool = True) -> None:
        samples: dict[str, Any] = {"data": self._place}
        if isinstance(self._batch, Batch):
            samples["rows"] = lambda: describe_rows(self._batch, task_names=self._task_names)
        self._ledger.tell(
            finding,
            step=self._step,
            action=action,
            usual_loss=self._rise.level,
            samples=samples,
            is_decisive=is_decisive,
        )

    def _earlier(self) -> tuple[Sequence[float], Sequence[float]] | None:
        if self._learned_place is None:
            return None
        if self._learned is None:  # learned before the run was interrupted
            self._learned = self._redraw(self._learned_place)
        return self._losses_of(self._learned), self._independent_targets(self._learned)

    def _independent_targets(self, batch: TrainableBatch) -> list[float]:
        """Count the targets of each task; those of a head come in examples that are right or wrong as a whole."""
        counts: list[float] = batch.weights_by_task(self._balance.num_tasks).tolist()
        if self._shape is None or not isinstance(batch, Batch):
            return counts
        for task, is_word_task in enumerate(self._shape.is_word_task):
            if not is_word_task and counts[task]:
                num_rows = int((batch.task_ids == task).any(dim=1).sum())
                counts[task] = min(counts[task], EXAMPLES_PER_ROW * num_rows)
        return counts

    def statistics(self) -> dict[str, Any]:
        """Return what is usual for the weights as they are; it goes back together with them."""
        return {"judge": self._judge.state(), "rise": self._rise.state(), "anchors": self._anchors.state()}

    def rewound(self, *, step: int, statistics: Mapping[str, Any]) -> None:
        """Go on from an earlier step, with what was usual then; what happened since is not forgotten."""
        if statistics:
            self._judge.restore(statistics["judge"])
            self._rise.restore(statistics["rise"])
            self._anchors.restore(statistics["anchors"])
        self._ledger.rewound(step)
        self._learned, self._learned_place = None, None

    def state(self) -> dict[str, Any]:
        """Return all that later decisions depend on, ready for JSON."""
        return {
            **self.statistics(),
            "gate": self._gate.state(),
            "cures": self._cures.state(),
            "ledger": self._ledger.state(),
            "reports": self._reports.state(),
            "noise": self._noise.state(),
            "learned_place": self._learned_place,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on with what `state` returned; nothing, where the run was not watched before."""
        if not state:
            return
        self._judge.restore(state["judge"])
        self._rise.restore(state["rise"])
        self._anchors.restore(state["anchors"])
        self._gate.restore(state["gate"])
        self._cures.restore(state["cures"])
        self._ledger.restore(state["ledger"])
        if "reports" in state:  # older checkpoints lack these two
            self._reports.restore(state["reports"])
            self._noise.restore(state["noise"])
        self._learned, self._learned_place = None, state["learned_place"]


def _action_of(remedies: Sequence[Remedy]) -> Action:
    if not remedies:
        return "reported"
    return "scores_shrunk" if isinstance(remedies[0], ShrinkScores) else "rate_lowered"


def _broken_data(signal: str) -> Stop:
    return Stop(
        reason=f"30 of the last 100 batches could not be learned from: {signal}.",
        hint="banyan diagnose RUN shows the samples; clean the data and start again",
        is_data=True,
    )
