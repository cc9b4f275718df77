"""The results as tables, with a verdict on each goal, between the marks of docs/joint.md."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from banyan.tasks.metrics.measurement import FloatArray
from banyan.tasks.repeated_scores import compare_repeated, repeated_interval
from banyan.workflows.kept_scores import TaskScore
from banyan.workflows.twin_report import help_table, summary_lines, transfer_table
from banyan.workflows.twin_results import JointVsSingle
from proofs.joint.runs import RunResult
from proofs.joint.settings import GOALS, GOALS_BESIDE, LONG, SHORT, Form, Goal, GoalBeside, Setting
from proofs.marks import write_between

Results = Callable[[str], RunResult | None]  # by name


def quality_lines(results: Results, forms: Sequence[Form] = (SHORT, LONG)) -> list[str]:
    """Return what each form scored, task by task, beside the simple systems, and what became of the goals."""
    lines: list[str] = []
    for form in forms:
        done = runs_of(results, form)
        lines += [f"### {form.name} form, {form.minutes:g} minutes a run", "", *_changes(form)]
        lines += [_extent(done, len(form.seeds)), ""]
        if done:
            lines += [*_quality_table(done), "", *_calibration_table(done), ""]
    if any(runs_of(results, form) for form in forms):
        lines += ["![what each task scored](images/joint-quality.png)", ""]
    return [*lines, "### Goals", "", *_goal_lines(results)]


def _changes(form: Form) -> Iterator[str]:
    if form.changes:
        yield f"The recipe with {', '.join(f'`{change}`' for change in form.changes)}."
        yield ""


def runs_of(results: Results, form: Form) -> list[RunResult]:
    """Return the runs of a form that are done."""
    found = (results(quality_name(form, seed)) for seed in form.seeds)
    return [result for result in found if result is not None]


def quality_name(form: Form, seed: int) -> str:
    """Return what a run is called."""
    return f"{form.name}-{seed}"


def ablation_name(setting: Setting, seed: int) -> str:
    """Return what a run is called."""
    return f"ablation-{setting.name.lower().replace(' ', '-')}-{seed}"


def _extent(done: Sequence[RunResult], num_planned: int) -> str:
    if not done:
        return f"**Not run yet** (0 of {num_planned} runs)."
    steps, minutes = done[0].steps, statistics.fmean(result.seconds for result in done) / 60
    return (
        f"{len(done)} of {num_planned} runs done: {steps:,} steps in {minutes:.0f} minutes of training, "
        f"{done[0].num_parameters:,} weights."
    )


def _quality_table(done: Sequence[RunResult]) -> Iterator[str]:
    yield "| task | metric | examples | joint model | 95 % interval | simple systems |"
    yield "|---|---|---|---|---|---|"
    baselines = next((result.baselines for result in done if result.baselines), {})
    for name in done[0].tasks:
        scores = [result.tasks[name] for result in done if name in result.tasks]
        simple = ", ".join(f"{system} {score:.3f}" for system, score in baselines.get(name, {}).items()) or "–"
        yield (
            f"| {name} | {scores[0].metric} | {scores[0].num_examples} | **{_mean(scores):.3f}** {_spread(scores)}"
            f"| {_interval(scores)} | {simple} |"
        )


def _mean(scores: Sequence[TaskScore]) -> float:
    return statistics.fmean(score.score for score in scores)


def _spread(scores: Sequence[TaskScore]) -> str:
    return f"± {statistics.stdev(score.score for score in scores):.3f} " if len(scores) > 1 else "(one seed) "


def _interval(scores: Sequence[TaskScore]) -> str:
    """Return the interval over examples and seeds, of the score between 0 and 1 in points, better upwards."""
    found = repeated_interval([one.unit for one in scores], samples_SN=_paired([one.samples for one in scores]))
    return f"{100 * max(0.0, found.low):.1f} – {100 * min(1.0, found.high):.1f}"


def _paired(samples: Sequence[Sequence[float] | FloatArray]) -> FloatArray:
    """Return as many resampled scores of each run as all have: those of the record are the first ones."""
    return np.array([own[: min(map(len, samples))] for own in samples])


def _calibration_table(done: Sequence[RunResult]) -> Iterator[str]:
    yield "| classifier | table's share of the logits | right with a half | with it | calibration error | after |"
    yield "|---|---|---|---|---|---|"
    for name in done[0].calibration:
        own = [result.calibration[name] for result in done if name in result.calibration]
        shares = ", ".join("–" if one.table_share is None else f"{one.table_share:.2f}" for one in own)
        right = (f"{statistics.fmean(one.accuracy[place] for one in own):.3f}" for place in (0, 1))
        errors = (f"{statistics.fmean(one.error[place] for one in own):.3f}" for place in (0, 1))
        yield f"| {name} | {shares} | {' | '.join((*right, *errors))} |"


def _goal_lines(results: Results) -> Iterator[str]:
    yield "| task | metric | must | goal | short form | long form |"
    yield "|---|---|---|---|---|---|"
    for goal in GOALS:
        cells = (_verdict(results, goal, form) for form in (SHORT, LONG))
        yield f"| {goal.task} | {goal.metric} | {goal.must:g} | {goal.goal:g} | {' | '.join(cells)} |"
    for beside in GOALS_BESIDE:
        cells = (_verdict_beside(results, beside, form) for form in (SHORT, LONG))
        yield f"| {beside.task} | {beside.metric} | {beside.times:g} × {beside.system} | | {' | '.join(cells)} |"


def _verdict(results: Results, goal: Goal, form: Form) -> str:
    points = _points(results, goal.task, form)
    if points is None:
        return "not run"
    bars = [(goal.must, "must") for asked in (goal.must_in,) if asked is form]
    bars += [(goal.goal, "goal") for asked in (goal.goal_in,) if asked is form]
    verdicts = ", ".join(f"{word} {'met' if points >= bar else '**missed**'}" for bar, word in bars)
    return f"{points:.1f}{': ' if verdicts else ''}{verdicts}"


def _verdict_beside(results: Results, goal: GoalBeside, form: Form) -> str:
    points = _points(results, goal.task, form)
    if points is None:
        return "not run"
    simple = [run.baselines[goal.task] for run in runs_of(results, form) if goal.task in run.baselines]
    bars = [100 * goal.times * known[goal.system] for known in simple if goal.system in known]
    if form is not goal.must_in or not bars:
        return f"{points:.1f}"
    return f"{points:.1f} of {bars[0]:.1f}: must {'met' if points >= bars[0] else '**missed**'}"


def _points(results: Results, task: str, form: Form) -> float | None:
    """Return the mean over the runs of a form, in points of 100; None before there is one."""
    done = [result.tasks[task].unit for result in runs_of(results, form) if task in result.tasks]
    return 100 * statistics.fmean(done) if done else None


def ablation_lines(results: Results, settings: Sequence[Setting], seeds: Sequence[int]) -> list[str]:
    """Return the mean over tasks of every setting, and by how much it differs from the recipe as it is."""
    found = {setting.name: _runs_of_setting(results, setting, seeds) for setting in settings}
    num_done = sum(map(len, found.values()))
    lines = [f"{num_done} of {len(settings) * len(seeds)} runs done.", ""]
    lines += ["| setting | factor | seeds | steps | minutes | mean of tasks | against the recipe | 95 % interval |"]
    lines += ["|---" * 8 + "|"]
    base = found[settings[0].name]
    for setting in settings:
        done = found[setting.name]
        if not done:
            lines.append(f"| {setting.name} | {setting.factor} | 0 | – | – | not run | | |")
            continue
        minutes = statistics.fmean(result.seconds for result in done) / 60
        lines.append(
            f"| {setting.name} | {setting.factor} | {len(done)} | {done[0].steps} | {minutes:.1f} "
            f"| {statistics.fmean(map(mean_points, done)):.2f} | {_against(done, base)} |"
        )
    return [*lines, "", "![mean over tasks](images/joint-ablations.png)"] if num_done else lines


def _runs_of_setting(results: Results, setting: Setting, seeds: Sequence[int]) -> list[RunResult]:
    found = (results(ablation_name(setting, seed)) for seed in seeds)
    return [result for result in found if result is not None]


def mean_points(result: RunResult) -> float:
    """Return the mean over tasks of what a run scored, in points of 100."""
    return 100 * statistics.fmean(score.unit for score in result.tasks.values())


def _against(done: Sequence[RunResult], base: Sequence[RunResult]) -> str:
    if not base or done is base:
        return "– | –"
    samples_SN = _paired([_mean_samples(result) for result in (*done, *base)])
    found = compare_repeated(
        [mean_points(result) for result in done],
        [mean_points(result) for result in base],
        own_samples_SN=samples_SN[: len(done)],
        other_samples_SN=samples_SN[len(done) :],
        score="mean",
    )
    return f"{found.improvement:+.2f} | {found.interval.low:+.2f} – {found.interval.high:+.2f}"


def _mean_samples(run: RunResult) -> FloatArray:
    return np.asarray(100 * _paired([score.samples for score in run.tasks.values()]).mean(axis=0))


def twin_lines(found: JointVsSingle | None) -> list[str]:
    """Return what joint training does to each task."""
    if found is None:
        return ["**Not run yet.**"]
    lines = [*summary_lines(found), ""]
    if found.tasks:
        lines += [*transfer_table(found), "", "![gains](images/joint-vs-single.png)"]
    return [*lines, "", *help_table(found.helps)] if found.helps else lines


def write_part(path: Path, part: str, lines: Sequence[str]) -> None:
    """Put lines between the two marks of a part of the page."""
    write_between(path, f"<!-- {part}: written by make proof-joint -->", f"<!-- {part}: end -->", lines)
