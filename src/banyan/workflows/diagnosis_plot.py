"""diagnosis.png: the loss of a run with the signals marked, and a closer look at the gravest one."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from banyan.core.files import atomic_write_bytes
from banyan.workflows.diagnosis import Diagnosis, Episode

PLOT_FILE = "diagnosis.png"
_MARKED = 8  # episodes at most


def draw_diagnosis(diagnosis: Diagnosis) -> Path:
    """Draw what the diagnosis rests on into the run's folder.

    Raises: SpaceError if the folder cannot be written.
    """
    # Here, for it takes half a second to import. The bare figure draws with Agg and needs no display.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.0, 6.4))
    whole, loss, gradient = figure.subplot_mosaic([["whole", "whole"], ["loss", "gradient"]]).values()
    figure.subplots_adjust(left=0.07, right=0.98, bottom=0.08, top=0.95, hspace=0.35)
    _draw_whole(whole, diagnosis)
    if diagnosis.episodes:
        _draw_recent(loss, diagnosis.episodes[0], column=1, title="loss before the first sign")
        _draw_recent(gradient, diagnosis.episodes[0], column=2, title="length of the gradient")
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=100)
    path = diagnosis.run_directory / PLOT_FILE
    atomic_write_bytes(path, picture.getvalue())
    return path


def _draw_whole(panel: Any, diagnosis: Diagnosis) -> None:
    panel.plot([step for step, _ in diagnosis.losses], [loss for _, loss in diagnosis.losses], color="tab:green")
    for number, episode in enumerate(diagnosis.episodes[:_MARKED]):
        colour = f"C{number + 1}"
        panel.axvline(episode.step, color=colour, linestyle="--", linewidth=1, label=_name(episode))
    if diagnosis.episodes:
        panel.legend(fontsize=7)
    panel.set_title("loss, all tasks (1 = knows nothing)", fontsize=9)
    panel.set_xlabel("step", fontsize=8)


def _draw_recent(panel: Any, episode: Episode, *, column: int, title: str) -> None:
    points = [(entry[0], entry[column]) for entry in episode.recent if len(entry) == 3 and entry[column] is not None]
    panel.plot([step for step, _ in points], [value for _, value in points], marker=".", color="tab:green")
    panel.axvline(episode.step, color="C1", linestyle="--", linewidth=1)
    panel.set_title(f"{title}: {_name(episode)}", fontsize=9)
    panel.set_xlabel("step", fontsize=8)


def _name(episode: Episode) -> str:
    return f"{episode.signal} at {episode.step}"
