"""loss.png: the loss of every task over the run, drawn without any service."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

from banyan.core.errors import SpaceError
from banyan.core.files import atomic_write_bytes
from banyan.train.callbacks import Callback, EvaluationRecord, FitResult, RunStart
from banyan.train.run_files import EVENTS_FILE, METRICS_FILE, read_json_lines

PLOT_FILE = "loss.png"
MIN_PAUSE_SECONDS = 30.0  # a picture takes up to a second: too much for every evaluation of a small model
_COLOURS = ("tab:green", "tab:blue", "tab:orange", "tab:red", "tab:purple", "tab:brown", "tab:pink", "tab:gray")
_PANEL_INCHES = (4.0, 2.6)
_NUM_COLUMNS = 3
_SMOOTHING = 0.05  # of all points, averaged on both sides of each in the thick line


Curve: TypeAlias = tuple[tuple[float, float], ...]  # (where along the run, value)


class LossPlot(Callback):
    """Draws loss.png at evaluations and at the end, from the files the run wrote; so it spans resumes."""

    def __init__(self, run_directory: Path, *, unit: str = "nats", clock: Callable[[], float] = time.monotonic) -> None:
        self._run_directory = run_directory
        self._unit = unit
        self._clock = clock
        self._drawn_at = -math.inf
        self._task_names: tuple[str, ...] = ()

    def on_start(self, record: RunStart) -> None:
        """Remember the names of the panels."""
        self._task_names = record.task_names

    def on_evaluation(self, record: EvaluationRecord) -> None:
        """Draw what there is so far, unless that was done a moment ago."""
        if self._clock() - self._drawn_at >= MIN_PAUSE_SECONDS:
            self._draw()

    def on_end(self, result: FitResult) -> None:
        """Draw the whole run."""
        self._draw()

    def _draw(self) -> None:
        with suppress(SpaceError):  # a picture that cannot be written does not stop a run
            draw_losses(self._run_directory, task_names=self._task_names, unit=self._unit)
        self._drawn_at = self._clock()


def draw_losses(run_directory: Path, *, task_names: Sequence[str], unit: str = "nats") -> None:
    """Draw loss.png of a run: the balanced loss, each task's loss, and the evaluation score.

    Units: `unit` for the tasks; "" where their losses are plain numbers, whose sum has no scale either.
    Raises: SpaceError if the picture cannot be written.
    """
    lines = read_json_lines(run_directory / METRICS_FILE)
    evaluations = [e for e in read_json_lines(run_directory / EVENTS_FILE) if e.get("event") == "evaluated"]
    whole = "loss, all tasks (1 = knows nothing)" if unit else "loss, all parts"
    curves: dict[str, list[tuple[float, float]]] = {whole: [(line["step"], line["loss"]) for line in lines]}
    for task in task_names:
        curves[f"{task} ({unit})" if unit else task] = [
            (x["step"], x["task_losses"][task]) for x in lines if task in x["task_losses"]
        ]
    scores = {event["step"]: event["score"] for event in evaluations}  # the latest, where a step was done twice
    if scores:
        curves["evaluation score"] = sorted(scores.items())
    panels = {
        title: {"": tuple((step, value) for step, value in points if value is not None)}
        for title, points in curves.items()
    }
    atomic_write_bytes(run_directory / PLOT_FILE, _draw_panels(panels))


def draw_comparison(panels: Mapping[str, Mapping[str, Curve]], path: Path) -> None:
    """Draw the curves of several runs: a panel for each title, a line for each label.

    Raises: SpaceError if the picture cannot be written.
    """
    atomic_write_bytes(path, _draw_panels(panels))


def _draw_panels(panels: Mapping[str, Mapping[str, Curve]]) -> bytes:
    # Here, for it takes half a second to import. The bare figure draws with Agg and needs no display.
    from matplotlib.figure import Figure

    num_columns = max(1, min(_NUM_COLUMNS, len(panels)))
    num_rows = max(1, -(-len(panels) // num_columns))
    figure = Figure(figsize=(_PANEL_INCHES[0] * num_columns, _PANEL_INCHES[1] * num_rows))
    _set_margins(figure, num_rows)  # by hand: an automatic layout takes longer than the drawing
    places = figure.subplots(num_rows, num_columns, squeeze=False).flatten()
    for place, (title, curves) in zip(places, panels.items(), strict=False):
        _draw_panel(place, title, curves)
    for place in places[len(panels) :]:
        place.set_visible(False)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=100)
    return picture.getvalue()


def _draw_panel(place: Any, title: str, curves: Mapping[str, Curve]) -> None:
    drawn = {label: curve for label, curve in curves.items() if curve}
    for number, (label, curve) in enumerate(drawn.items()):
        _draw_curve(place, curve, label=label, color=_COLOURS[number % len(_COLOURS)])
    if len(drawn) > 1:
        place.legend(fontsize=6)
    place.set_title(title, fontsize=9)
    place.tick_params(labelsize=7)
    place.set_xlabel("minutes" if "minute" in title else "step", fontsize=7)
    place.grid(alpha=0.2)


def _set_margins(figure: Any, num_rows: int) -> None:
    margin = 0.16 / num_rows
    figure.subplots_adjust(left=0.05, right=0.98, bottom=margin, top=1 - 0.6 * margin, hspace=0.45, wspace=0.18)


def _draw_curve(panel: Any, points: Curve, *, label: str, color: str) -> None:
    """Draw the values thin and their smoothed course thick."""
    across = [place for place, _ in points]
    values = [value for _, value in points]
    marker = "." if len(values) <= 30 else ""
    panel.plot(across, values, linewidth=0.6, alpha=0.5, color=color, marker=marker)
    panel.plot(across, _smooth(values), linewidth=1.4, color=color, label=label)


def _smooth(values: list[float]) -> list[float]:
    """Average each value with its neighbours on both sides, fewer at the ends, so that the line does not lag."""
    reach = int(_SMOOTHING * len(values))
    averages = []
    for place in range(len(values)):
        near = min(reach, place, len(values) - 1 - place)
        window = values[place - near : place + near + 1]
        averages.append(sum(window) / len(window))
    return averages
