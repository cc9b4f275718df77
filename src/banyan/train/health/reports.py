"""What is not a matter of one update: weights, layers, the course of the loss, the pace. Most of it is only told."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from banyan.data.batch import Batch, TrainableBatch
from banyan.model.transformer import Transformer
from banyan.train.balance import TaskBalance
from banyan.train.callbacks import EvaluationRecord, StepRecord
from banyan.train.health.activations import LayerProbe
from banyan.train.health.config import HealthConfig
from banyan.train.health.progress import LossCourse, Pace, ScoreCourse
from banyan.train.health.signals import Finding
from banyan.train.health.weights import WeightProbe
from banyan.train.layer_rates import LayerRates


class Reports:
    """Looks at what the judge of the updates does not see."""

    def __init__(
        self,
        config: HealthConfig,
        *,
        model: nn.Module,
        balance: TaskBalance,
        task_names: Sequence[str],
        layer_rates: LayerRates | None = None,
    ) -> None:
        self._config = config
        self._model = model
        self._weights = WeightProbe(model, layer_rates=layer_rates)
        self._layers = LayerProbe()
        nats = math.fsum(balance.scales) / len(balance.scales)
        self._course = LossCourse(nats_per_unit=nats, task_scales=balance.scales, task_names=task_names)
        self._scores = ScoreCourse()
        self._pace = Pace()

    def before_step(self, *, step: int) -> None:
        """Take the samples that the step will be compared with."""
        if step % self._config.probe_every == 0:
            self._weights.before_step()

    def after_step(self, record: StepRecord, batch: TrainableBatch, *, input_seconds: float) -> list[Finding]:
        """Return what the step shows."""
        if not record.is_applied:
            self._weights.forget()
            return []
        findings = self._pace.add(step_seconds=record.step_seconds, input_seconds=input_seconds)
        findings += self._weights.after_step(step=record.step) + self._course.add(record)
        self._scores.add_step(record)
        is_due = record.step % self._config.activation_probe_every == 0
        if is_due and isinstance(batch, Batch) and isinstance(self._model, Transformer) and _is_whole(self._model):
            findings += self._layers.look(self._model, batch)
        return findings

    def after_evaluation(self, record: EvaluationRecord) -> list[Finding]:
        """Return what the scores show."""
        return self._scores.add_evaluation(record)

    def state(self) -> dict[str, Any]:
        """Return what remedies depend on, ready for JSON."""
        return {"course": self._course.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on with what `state` returned."""
        self._course.restore(state["course"])


def _is_whole(model: nn.Module) -> bool:
    """Whether this process holds all of every weight."""
    return not any(hasattr(parameter, "to_local") for parameter in model.parameters())
