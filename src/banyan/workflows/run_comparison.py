"""Several recorded runs side by side: which keys of their recipes differ, how they scored, and their curves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from banyan.train.loss_plot import Curve, draw_comparison
from banyan.train.run_files import METRICS_FILE, read_json_lines

SCORE = "score"
_LABEL_CHARACTERS = 4  # of an id, where two runs have one name


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparedRun:
    """One run as a comparison sees it."""

    label: str  # its name, with the end of its id where another one has the same
    run_id: str
    state: str
    settings: Mapping[str, Any]  # every key of the recipe, dotted
    scores: Mapping[str, float]  # the newest value of each
    num_steps: int | None  # of the last one written down; None: its files are gone
    loss: float | None  # there, balanced over tasks
    seconds: float | None  # of training
    curves: Mapping[str, Curve]  # by what is drawn


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Runs beside each other, in the order they were asked for."""

    runs: tuple[ComparedRun, ...]

    @property
    def differences(self) -> dict[str, tuple[Any, ...]]:
        """The keys in which the recipes differ, with the value of each run; None where it has none."""
        keys = dict.fromkeys(key for run in self.runs for key in run.settings)
        values = {key: tuple(run.settings.get(key) for run in self.runs) for key in keys}
        return {key: found for key, found in values.items() if any(value != found[0] for value in found)}

    @property
    def scores(self) -> dict[str, tuple[float | None, ...]]:
        """Every score that one of the runs has."""
        names = dict.fromkeys(name for run in self.runs for name in run.scores)
        return {name: tuple(run.scores.get(name) for run in self.runs) for name in names}


def compare_runs(rows: Sequence[Mapping[str, Any]], score_courses: Sequence[Curve]) -> Comparison:
    """Return a comparison of runs as the database holds them, with the course of each one's score.

    Loss and time come from the run directories, where they still lie there.
    """
    names = [row["name"] for row in rows]
    labels = [
        name if names.count(name) == 1 else f"{name} …{row['id'][-_LABEL_CHARACTERS:]}"
        for name, row in zip(names, rows, strict=True)
    ]
    joined = zip(labels, rows, score_courses, strict=True)
    return Comparison(runs=tuple(_compared(label, row, course) for label, row, course in joined))


def _compared(label: str, row: Mapping[str, Any], score_course: Curve) -> ComparedRun:
    lines = read_json_lines(Path(row["directory"]) / METRICS_FILE)
    last = lines[-1] if lines else {}
    return ComparedRun(
        label=label,
        run_id=row["id"],
        state=row["state"],
        settings=flat(row["config"]),
        scores={name: metric["value"] for name, metric in row["metrics"].items()},
        num_steps=last.get("step"),
        loss=last.get("loss"),
        seconds=last.get("seconds"),
        curves={
            "loss by step": _curve(lines, across="step"),
            "loss by minute of training": _curve(lines, across="seconds", scale=1 / 60),
            "score by step": tuple(score_course),
        },
    )


def _curve(lines: Iterable[Mapping[str, Any]], *, across: str, scale: float = 1.0) -> Curve:
    return tuple((line[across] * scale, line["loss"]) for line in lines if line["loss"] is not None)


def save_plot(comparison: Comparison, path: Path) -> None:
    """Draw the curves of all runs, a panel for each thing that one of them has.

    Raises: SpaceError if the picture cannot be written.
    """
    titles = dict.fromkeys(title for run in comparison.runs for title in run.curves)
    panels = {title: {run.label: run.curves[title] for run in comparison.runs} for title in titles}
    draw_comparison({title: curves for title, curves in panels.items() if any(curves.values())}, path)


def flat(settings: Any, *, at: str = "") -> dict[str, Any]:
    """Return nested settings as one level of dotted keys; items of a list go by their name, or their number."""
    if isinstance(settings, Mapping):
        pairs = [(str(key), value) for key, value in settings.items()]
    elif isinstance(settings, list) and any(isinstance(item, Mapping) for item in settings):
        pairs = [(str(item.get("name", number)), item) for number, item in enumerate(settings)]
    else:
        return {at: settings}
    return {key: value for name, item in pairs for key, value in flat(item, at=f"{at}.{name}".lstrip(".")).items()}
