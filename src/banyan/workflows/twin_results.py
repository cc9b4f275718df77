"""What a comparison of a joint model with its single-task twins has found, task by task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from banyan.tasks.intervals import Comparison, holm
from banyan.tasks.repeated_scores import compare_repeated
from banyan.workflows.kept_scores import TaskScore
from banyan.workflows.model_comparison import verdict_on


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """One way to teach a task: its scores by seed, and the factor on the learning rates that was best for it."""

    scores: tuple[TaskScore, ...]
    rate: float

    @property
    def mean(self) -> float:
        """The mean score as the metric has it."""
        return fmean(score.score for score in self.scores)


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskTransfer:
    """One task, taught with the others and alone."""

    task: str
    joint: Scored
    single: Scored
    comparison: Comparison  # of scores between 0 and 1: above zero where the joint model is better
    corrected_p: float  # Holm's, over the tasks that were compared

    @property
    def metric(self) -> str:
        """The task's main score."""
        return self.joint.scores[0].metric

    @property
    def num_examples(self) -> int:
        """Examples that both were scored on."""
        return self.joint.scores[0].num_examples

    @property
    def verdict(self) -> str:
        """Say whether the task is significantly better or worse off among the others."""
        return verdict_on(self.comparison, corrected_p=self.corrected_p)


@dataclass(frozen=True, kw_only=True, slots=True)
class Help:
    """What one task does to another; above zero is help. One seed."""

    helper: str
    helped: str
    comparison: Comparison


@dataclass(frozen=True, kw_only=True, slots=True)
class JointVsSingle:
    """What is known so far."""

    tasks: tuple[TaskTransfer, ...]
    missing: tuple[str, ...]  # tasks whose runs are not done yet
    helps: tuple[Help, ...]
    num_done: int  # runs
    num_planned: int
    num_seeds: int  # that were asked for
    is_interrupted: bool = False

    @property
    def mean(self) -> float | None:
        """The mean gain over the tasks that were compared."""
        return fmean(own.comparison.improvement for own in self.tasks) if self.tasks else None

    @property
    def worst(self) -> TaskTransfer | None:
        """The task that gains least, or loses most."""
        return min(self.tasks, key=lambda own: own.comparison.improvement, default=None)


def compare_all(pairs: dict[str, tuple[Scored, Scored]]) -> tuple[TaskTransfer, ...]:
    """Compare both ways for every task, and correct for having looked at so many."""
    compared = {name: compare_scored(joint.scores, single.scores) for name, (joint, single) in pairs.items()}
    corrected = holm([comparison.p_value for comparison in compared.values()])
    return tuple(
        TaskTransfer(task=name, joint=joint, single=single, comparison=compared[name], corrected_p=corrected_p)
        for (name, (joint, single)), corrected_p in zip(pairs.items(), corrected, strict=True)
    )


def compare_scored(own: Sequence[TaskScore], others: Sequence[TaskScore]) -> Comparison:
    """Say how much better one way is, on the same test examples and over the seeds of each."""
    return compare_repeated(
        [score.unit for score in own],
        [score.unit for score in others],
        own_samples_SN=np.array([score.samples for score in own]),
        other_samples_SN=np.array([score.samples for score in others]),
        score=own[0].metric,
    )
