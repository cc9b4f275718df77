"""`banyan evaluate RECIPE --joint-vs-single`: does a task lose or gain by being taught together with the others?

Every task gets a twin: a model of the same size that learns it alone, from as many of its rows, under the same
schedule, at the best of the same three learning rates. Joint model and twins are scored on the same examples.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from banyan.core.errors import ConfigError, UnknownNameError
from banyan.core.locks import hold_directory
from banyan.core.registry import did_you_mean
from banyan.train.interrupt import InterruptWatch
from banyan.workflows.recipe import Recipe
from banyan.workflows.reporter import Reporter
from banyan.workflows.twin_results import Help, JointVsSingle, Scored, compare_all, compare_scored
from banyan.workflows.twin_runs import CellResult, TwinRuns
from banyan.workflows.twins import JOINT, Cell, Group

SEARCHED_RATES = (0.5, 1.0, 2.0)  # factors on the recipe's learning rates, tried by the joint run and by every twin
_FIRST_SEED = 0  # the search is done with it
HelpKind: TypeAlias = Literal["leave-out", "pairs"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TwinQuestion:
    """What is to be found out."""

    tasks: tuple[str, ...] = ()  # that get a twin; empty: all
    num_seeds: int = 3
    helps: HelpKind | None = None  # which task helps which: leave each one out, or teach each pair; None: not asked
    max_examples: int = 100_000  # of each test split

    def __post_init__(self) -> None:
        if self.num_seeds < 1:
            raise ConfigError(f"num_seeds={self.num_seeds} is too few: one is the least, three are usual.")


def joint_vs_single(
    recipe: Recipe,
    folder: Path,
    question: TwinQuestion,
    *,
    seconds: float,
    reporter: Reporter,
    clock: Callable[[], float] = time.monotonic,
) -> JointVsSingle:
    """Do the runs that are not done yet, begin none after so many seconds, and compare what is there.

    Raises: UnknownNameError for a task the recipe lacks; ConfigError if the folder holds runs of another recipe;
    BusyError if another process works there; as `train`.
    """
    deadline = clock() + seconds
    with hold_directory(folder), InterruptWatch() as watch:
        study = Study(recipe, folder, question, reporter=reporter)
        for cell in study.waiting():
            if watch.is_requested or clock() > deadline:
                break
            # Twice the recipe's rate may be too much: then another is chosen, and the search is not stuck there.
            may_diverge = cell.rate > 1 and cell.seed == _FIRST_SEED
            if study.runs.do(cell, may_diverge=may_diverge) is None:
                watch.request()
        return study.found(is_interrupted=watch.is_requested)


class Study:
    """Which runs a question needs, and what they say."""

    def __init__(self, recipe: Recipe, folder: Path, question: TwinQuestion, *, reporter: Reporter) -> None:
        names = tuple(task.name for task in recipe.tasks)
        if unknown := next((name for name in question.tasks if name not in names), None):
            raise UnknownNameError(f"the recipe has no task {unknown!r}{did_you_mean(unknown, names)}")
        if len(names) < 2:
            raise ConfigError("a recipe with one task has nothing to compare: its joint run would be its own twin.")
        self.runs = TwinRuns(recipe, folder, max_examples=question.max_examples, reporter=reporter)
        self._question = question
        self._joint = Group(name=JOINT, tasks=names)
        self._twins = {name: Group(name=f"only-{name}", tasks=(name,)) for name in question.tasks or names}

    def waiting(self) -> Iterator[Cell]:
        """Yield the runs that have not been done, in the order that tells most soonest."""
        return (cell for cell in self._cells() if self.runs.result(cell) is None)

    def found(self, *, is_interrupted: bool = False) -> JointVsSingle:
        """Return what the runs that are there say."""
        pairs = {}
        for name, twin in self._twins.items():
            joint, single = self._scored(self._joint, name), self._scored(twin, name)
            if joint is not None and single is not None:
                pairs[name] = (joint, single)
        groups = (self._joint, *self._twins.values())
        helpers = [group for group, _ in self._helpers()]
        return JointVsSingle(
            tasks=compare_all(pairs),
            missing=tuple(name for name in self._twins if name not in pairs),
            helps=tuple(self._helps()),
            num_done=sum(len(self._done(group)) for group in (*groups, *helpers)),
            num_planned=len(groups) * (len(SEARCHED_RATES) + self._question.num_seeds - 1) + len(self._helping()),
            num_seeds=self._question.num_seeds,
            is_interrupted=is_interrupted,
        )

    def _cells(self) -> Iterator[Cell]:
        """Yield every run: first the search with one seed, then the others, then who helps whom."""
        groups = (self._joint, *self._twins.values())
        for group in groups:
            yield from _search(group)
        for seed in range(_FIRST_SEED + 1, _FIRST_SEED + self._question.num_seeds):
            for group in groups:
                yield Cell(group=group, rate=self._best_rate(group) or 1.0, seed=seed)
        yield from self._helping()

    def _helpers(self) -> Iterator[tuple[Group, str]]:
        """Yield the groups that show who helps whom, each with the task that is left out, if one is."""
        names = tuple(self._twins)
        if self._question.helps == "leave-out":
            for name in names:
                rest = tuple(task for task in self._joint.tasks if task != name)
                yield Group(name=f"without-{name}", tasks=rest), name
        if self._question.helps == "pairs":
            for first, second in itertools.combinations(names, 2):
                yield Group(name=f"{first}.{second}", tasks=(first, second)), ""

    def _helping(self) -> list[Cell]:
        """Return the runs that show who helps whom, each once."""
        helpers = [
            (group, self._reference(name, left_out)) for group, left_out in self._helpers() for name in group.tasks
        ]
        return list(dict.fromkeys(self._helping_cell(group, beside) for group, beside in helpers))

    def _reference(self, helped: str, left_out: str) -> Group:
        """Return the runs that a task's score is held against: with all others, or alone."""
        return self._joint if left_out else self._twins[helped]

    def _helping_cell(self, group: Group, reference: Group) -> Cell:
        """Return the run of such a group at its reference's learning rate: nothing else but the tasks differs."""
        return Cell(group=group, rate=self._best_rate(reference) or 1.0, seed=_FIRST_SEED)

    def _helps(self) -> Iterator[Help]:
        for group, left_out in self._helpers():
            for name in group.tasks:
                beside = self._reference(name, left_out)
                result, reference = self.runs.result(self._helping_cell(group, beside)), self._scored(beside, name)
                if result is None or reference is None or name not in result.tasks:
                    continue
                own, other = [result.tasks[name]], [reference.scores[0]]
                helper = left_out or next(task for task in group.tasks if task != name)
                comparison = compare_scored(other, own) if left_out else compare_scored(own, other)
                yield Help(helper=helper, helped=name, comparison=comparison)

    def _scored(self, group: Group, task: str) -> Scored | None:
        """Return what a task scored in a group at the best learning rate, by seed; None before that is known."""
        rate = self._best_rate(group)
        if rate is None:
            return None
        seeds = range(_FIRST_SEED, _FIRST_SEED + self._question.num_seeds)
        found = [self.runs.result(Cell(group=group, rate=rate, seed=seed)) for seed in seeds]
        scores = tuple(result.tasks[task] for result in found if result is not None and task in result.tasks)
        return Scored(scores=scores, rate=rate) if scores else None

    def _best_rate(self, group: Group) -> float | None:
        """Return the learning rate that did best on the validation split; None until all have been tried."""
        tried = {cell.rate: self.runs.result(cell) for cell in _search(group)}
        known = {rate: result.validation for rate, result in tried.items() if result is not None}
        return max(known, key=lambda rate: known[rate]) if len(known) == len(tried) else None

    def _done(self, group: Group) -> list[CellResult]:
        seeds = range(_FIRST_SEED, _FIRST_SEED + self._question.num_seeds)
        cells = (Cell(group=group, rate=rate, seed=seed) for rate in SEARCHED_RATES for seed in seeds)
        return [result for cell in cells if (result := self.runs.result(cell)) is not None]


def _search(group: Group) -> Iterator[Cell]:
    return (Cell(group=group, rate=rate, seed=_FIRST_SEED) for rate in SEARCHED_RATES)
