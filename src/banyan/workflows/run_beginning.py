"""How every run begins, whatever it teaches: minutes become steps, and its recipe is written beside it."""

from __future__ import annotations

from typing import Any

from banyan.core.config import write_config
from banyan.train.callbacks import Callback, RunStart
from banyan.workflows.reporter import Reporter
from banyan.workflows.sidecars import RECIPE_FILE

# Of a run. Five steps of half a second once fell into a busy moment: 90 minutes got 7,793 steps instead of 10,556.
_TIMING_SHARE = 0.005


def seconds_to_time(minutes: float) -> float:
    """Return how long steps may be timed to find out how many fit into so many minutes."""
    return _TIMING_SHARE * 60 * minutes


def steps_within(minutes: float, *, step_seconds: float, reporter: Reporter) -> int:
    """Return how many steps fit into a time, at least one, and say so."""
    steps = max(1, int(minutes * 60 / step_seconds))
    reporter.line(f"{minutes:g} minutes of {step_seconds * 1000:.0f} ms steps: {steps} steps")
    return steps


class SaveRecipe(Callback):
    """Writes the recipe of a run into its directory when it begins, and so when nobody else trains there."""

    def __init__(self, recipe: Any) -> None:
        self._recipe = recipe

    def on_start(self, record: RunStart) -> None:
        """Write the recipe."""
        write_config(record.run_directory / RECIPE_FILE, self._recipe)
