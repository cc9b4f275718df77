"""The results as a table, a verdict on each goal and a plot of score over examples."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from proofs.marks import write_between
from proofs.transfer.grid import DATA_SETS, SEEDS, SIZES, Cell
from proofs.transfer.learners import LEARNERS

_BEGIN, _END = "<!-- written by make proof-transfer -->", "<!-- end -->"
_GOAL_POINTS, _GOAL_LORA, _GOAL_SHARE = 5.0, 0.97, 0.03
_GOAL_SETS = ("trec", "chnsenticorp_hotel")
_METHODS = tuple(LEARNERS)
Results = Callable[[Cell], dict[str, Any] | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Mean:
    """What the seeds of one place of the table scored. Units: points of 100."""

    scores: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean over the seeds that were run."""
        return statistics.mean(self.scores)

    def __str__(self) -> str:
        if not self.scores:
            return "not run"
        spread = f" ± {statistics.stdev(self.scores):.1f}" if len(self.scores) > 1 else " (one seed)"
        return f"{self.mean:.1f}{spread}"


def table(results: Results) -> list[str]:
    """Return the table as Markdown: a row for each data set and size, a column for each way to learn."""
    lines = [f"| data | examples | steps | {' | '.join(_METHODS)} | simple baseline |"]
    lines.append("|---" * (4 + len(_METHODS)) + "|")
    for data in DATA_SETS:
        for size in sorted(SIZES, key=lambda size: size or 10**9):
            scores = [str(mean_of(results, data.name, size, method)) for method in _METHODS]
            name, baseline = baseline_of(results, data.name, size)
            lines.append(
                f"| {data.name} | {size or 'all'} | {data.steps[size]} | {' | '.join(scores)} | {baseline} {name} |"
            )
    return lines


def mean_of(results: Results, data: str, size: int | None, method: str) -> Mean:
    """Return what a way to learn scored on a data set with so many examples."""
    found = _rows(results, data, size, method)
    return Mean(scores=tuple(100 * row["score"] for row in found))


def baseline_of(results: Results, data: str, size: int | None) -> tuple[str, Mean]:
    """Return the best of the simple systems that learned from the same examples."""
    rows = {row["seed"]: row for method in _METHODS for row in _rows(results, data, size, method)}
    names = sorted({name for row in rows.values() for name in row["baselines"]})
    means = [(name, Mean(scores=tuple(100 * row["baselines"][name] for row in rows.values()))) for name in names]
    preferred = [(name, mean) for name, mean in means if name == "naive Bayes"] or means
    return max(preferred, key=lambda pair: pair[1].mean, default=("", Mean(scores=())))


def _rows(results: Results, data: str, size: int | None, method: str) -> list[dict[str, Any]]:
    (found,) = (one for one in DATA_SETS if one.name == data)
    rows = (results(Cell(data=found, size=size, method=method, seed=seed)) for seed in SEEDS)
    return [row for row in rows if row is not None]


def verdicts(results: Results) -> list[str]:
    """Return what became of each goal, in one line each."""
    return [*(_pays(results, name) for name in _GOAL_SETS), *(_lora_keeps_up(results, data.name) for data in DATA_SETS)]


def _pays(results: Results, data: str) -> str:
    ways = {method: mean_of(results, data, 500, method) for method in _METHODS}
    known = {method: mean.mean for method, mean in ways.items() if mean.scores}
    _, bayes = baseline_of(results, data, 500)
    transfers = {method: mean for method, mean in known.items() if method != "scratch"}
    if not transfers or "scratch" not in known or not bayes.scores:
        return f"- {data}, 500 examples: not run yet."
    best = max(transfers, key=lambda method: transfers[method])
    bar = max(known["scratch"], bayes.mean)
    gain = transfers[best] - bar
    verdict = "met" if gain >= _GOAL_POINTS else "missed"
    return (
        f"- {data}, 500 examples: {best} is {gain:+.1f} points above the better of scratch and naive Bayes "
        f"({bar:.1f}); goal +{_GOAL_POINTS:.0f}: **{verdict}**."
    )


def _lora_keeps_up(results: Results, data: str) -> str:
    lora, full = mean_of(results, data, 500, "lora"), mean_of(results, data, 500, "full")
    if not lora.scores or not full.scores:
        return f"- {data}, LoRA: not run yet."
    if not full.mean:
        return f"- {data}, 500 examples: full scores 0, so there is nothing that LoRA could keep up with."
    row = _rows(results, data, 500, "lora")[0]
    share, part = row["num_trained"] / row["num_parameters"], lora.mean / full.mean
    verdict = "met" if part >= _GOAL_LORA and share <= _GOAL_SHARE else "missed"
    return (
        f"- {data}, 500 examples: LoRA reaches {part:.1%} of full with {share:.1%} of the weights; goals 97 % and 3 %: "
        f"**{verdict}**."
    )


def write_page(path: Path, results: Results, *, date: str) -> None:
    """Put what is known between the two marks of the page."""
    done = [row for data in DATA_SETS for size in SIZES for m in _METHODS for row in _rows(results, data.name, size, m)]
    total = len(DATA_SETS) * len(SIZES) * len(_METHODS) * len(SEEDS)
    longest = max((row["seconds"] for row in done), default=0)
    summary = (
        f"{len(done)} of {total} runs done by {date}; {os.cpu_count()} cores, {platform.machine()}; the longest run "
        f"took {longest:.0f} s. Accuracy or entity F1 in points, mean and standard deviation over {len(SEEDS)} seeds."
    )
    write_between(path, _BEGIN, _END, [summary, "", *table(results), "", *verdicts(results)])


def draw(path: Path, results: Results) -> None:
    """Draw the score of every way to learn over the number of examples, one panel a data set."""
    figure = Figure(figsize=(12, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    for panel, data in zip(figure.subplots(1, len(DATA_SETS)), DATA_SETS, strict=True):
        for method in _METHODS:
            _line(panel, [mean_of(results, data.name, size, method) for size in (100, 500, None)], label=method)
        baselines = [baseline_of(results, data.name, size)[1] for size in (100, 500, None)]
        _line(panel, baselines, label="simple baseline", style="k--")
        panel.set_title(data.name)
        panel.set_xticks(range(3), ["100", "500", "all"])
        panel.set_xlabel("examples")
        panel.grid(alpha=0.3)
    figure.axes[0].set_ylabel("accuracy or F1, points")
    figure.axes[0].legend(fontsize=8)
    figure.savefig(path, dpi=80)


def _line(panel: Any, means: Sequence[Mean], *, label: str, style: str = "o-") -> None:
    known = [(place, mean) for place, mean in enumerate(means) if mean.scores]
    panel.plot([place for place, _ in known], [mean.mean for _, mean in known], style, label=label)
