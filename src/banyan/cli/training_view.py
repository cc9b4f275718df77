"""A training run under its progress bar: losses with their course, speed, the last score and the last sample."""

from __future__ import annotations

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from banyan.cli.streams import visible
from banyan.workflows.reporter import LossTrend, TrainingView

_BARS = "▁▂▃▄▅▆▇█"
_NARROW = 50  # columns; below, losses are shown without their course
_NAME_WIDTH = 20
_OTHER_LINES = 6  # bar, figures, score, sample, and two to spare


class TrainingPanel:
    """Draws one view, cut to the width and the height there are."""

    def __init__(self, view: TrainingView) -> None:
        self._view = view

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the losses, then one line each for figures, score and sample."""
        view = self._view
        yield loss_table(view.losses, width=options.max_width, max_rows=max(1, console.height - _OTHER_LINES))
        lines = [figures(view), scores(view), sample(view)]
        yield from (_line(text) for text in lines if text)


def loss_table(losses: tuple[LossTrend, ...], *, width: int, max_rows: int) -> Table:
    """Return a row for each loss; what does not fit the height is counted in a last row."""
    shown = losses if len(losses) <= max_rows else losses[: max(1, max_rows - 1)]
    table = Table.grid(padding=(0, 1))
    table.add_column(max_width=min(_NAME_WIDTH, width // 2), no_wrap=True, overflow="ellipsis")
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True, overflow="crop")
    for trend in shown:
        course = "" if width < _NARROW else sparkline(trend.course)
        table.add_row(Text(f"  {visible(trend.name)}"), f"{trend.loss:.3f}", course)
    if len(shown) < len(losses):
        table.add_row(f"  … {len(losses) - len(shown)} more", "", "")
    return table


def sparkline(values: tuple[float, ...]) -> str:
    """Return a course as bars between its lowest and its highest value."""
    if not values:
        return ""
    low, high = min(values), max(values)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BARS[round((value - low) * scale)] for value in values)


def figures(view: TrainingView) -> str:
    """Return time left, speed, utilisation and learning rate on one line, what matters most first."""
    parts = [f"{view.tokens_per_second:,.0f} tokens/s", f"rate {view.learning_rate:.2e}"]
    if view.seconds_left is not None:
        parts.insert(0, f"{clock(view.seconds_left)} left")
    if view.utilisation is not None:
        parts.insert(-1, f"MFU {view.utilisation:.0%}")
    return " · ".join(parts)


def scores(view: TrainingView) -> str:
    """Return the last score and the best one, or nothing before the first evaluation."""
    if view.score is None:
        return ""
    best = "" if view.best_score is None else f" (best {view.best_score:.4f})"
    return f"score {view.score:.4f} at step {view.scored_step}{best}"


def sample(view: TrainingView) -> str:
    """Return the last sample with its control characters written out."""
    return f"sample {visible(view.sample)}" if view.sample else ""


def plain_line(view: TrainingView) -> str:
    """Return the view as one line for a log."""
    losses = ", ".join(f"{trend.name} {trend.loss:.3f}" for trend in view.losses)
    parts = [f"step {view.step} of {view.num_steps}", f"loss {losses}", figures(view), scores(view)]
    return visible(" · ".join(part for part in parts if part))


def clock(seconds: float) -> str:
    """Write a time as 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"


def _line(text: str) -> Text:
    return Text(f"  {text}", no_wrap=True, overflow="ellipsis")
