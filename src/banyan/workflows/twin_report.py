"""A comparison of a joint model with its single-task twins as Markdown and as a picture."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from banyan.workflows.twin_results import Help, JointVsSingle, Scored, TaskTransfer

HELP_NOTE = (
    "Points of 100, one seed. A pair has the learning rate that was the best of three for the helped task alone, a run "
    "without one task that of the joint run: nothing else differs, and it favours a little the run it was chosen for. "
    "A star: the change's own 95 % interval over examples leaves out zero; it is not corrected for so many looks."
)
_COLOURS = {"better": "tab:green", "worse": "tab:red", "no difference shown": "tab:gray"}


def transfer_table(found: JointVsSingle) -> list[str]:
    """Return the table as Markdown, best gain first; scores as the metrics have them, gains in points of 100."""
    lines = [
        "| task | metric | examples | joint | alone | gain | 95 % interval | p (Holm) | taught together it is |",
        "|---" * 9 + "|",
    ]
    return [*lines, *(f"| {' | '.join(transfer_row(own))} |" for own in by_gain(found))]


def by_gain(found: JointVsSingle) -> list[TaskTransfer]:
    """Return the tasks, the one that gains most first."""
    return sorted(found.tasks, key=lambda own: -own.comparison.improvement)


def transfer_row(own: TaskTransfer) -> tuple[str, ...]:
    """Return one line of the table."""
    comparison = own.comparison
    return (
        own.task,
        own.metric,
        str(own.num_examples),
        _scored(own.joint),
        _scored(own.single),
        f"{100 * comparison.improvement:+.1f}",
        f"{100 * comparison.interval.low:+.1f} – {100 * comparison.interval.high:+.1f}",
        f"{own.corrected_p:.3f}",
        own.verdict,
    )


def _scored(scored: Scored) -> str:
    seeds = "" if len(scored.scores) > 1 else " (1 seed)"
    return f"{scored.mean:.3f} at ×{scored.rate:g}{seeds}"


def summary_lines(found: JointVsSingle) -> list[str]:
    """Return what the table comes to: mean, worst, what is significant, what has not been run."""
    lines = [f"{found.num_done} of {found.num_planned} runs done; {found.num_seeds} seeds were asked for."]
    if found.mean is not None and found.worst is not None:
        worst = found.worst
        lines.append(
            f"Mean gain {100 * found.mean:+.2f} points over {len(found.tasks)} tasks; the worst is {worst.task}, "
            f"{100 * worst.comparison.improvement:+.1f}."
        )
        for verdict in ("better", "worse"):
            names = [own.task for own in found.tasks if own.verdict == verdict]
            lines.append(f"Significantly {verdict} among the others: {', '.join(names) or 'none'}.")
    if found.missing:
        lines.append(f"Not run yet: {', '.join(found.missing)}.")
    return lines


def help_table(helps: Sequence[Help]) -> list[str]:
    """Return who helps whom as a Markdown matrix with a row for each helper, and how it is to be read."""
    helped = list(dict.fromkeys(own.helped for own in helps))
    cells = {(own.helper, own.helped): _change(own) for own in helps}
    lines = [f"| helper ↓ helped → | {' | '.join(helped)} |", "|---" * (1 + len(helped)) + "|"]
    for helper in dict.fromkeys(own.helper for own in helps):
        lines.append(f"| {helper} | {' | '.join(cells.get((helper, name), '') for name in helped)} |")
    return [*lines, "", HELP_NOTE]


def _change(own: Help) -> str:
    star = "*" if own.comparison.is_better or own.comparison.is_worse else ""
    return f"{100 * own.comparison.improvement:+.1f}{star}"


def draw_transfer(found: JointVsSingle) -> bytes:
    """Return a PNG: the gain of every task with its 95 % interval."""
    # Here, for it takes half a second to import. The bare figure draws with Agg and needs no display.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 1.5 + 0.3 * len(found.tasks)), layout="constrained")
    _draw_gains(figure.subplots(), by_gain(found)[::-1])
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=80)
    return picture.getvalue()


def _draw_gains(panel: Any, tasks: Sequence[TaskTransfer]) -> None:
    for place, own in enumerate(tasks):
        comparison, colour = own.comparison, _COLOURS[own.verdict]
        ends = [100 * comparison.interval.low, 100 * comparison.interval.high]
        panel.plot(ends, [place, place], color=colour)
        panel.plot([100 * comparison.improvement], [place], "o", color=colour)
    panel.axvline(0, color="black", linewidth=0.8)
    panel.set_yticks(range(len(tasks)), [f"{own.task} ({own.metric})" for own in tasks], fontsize=8)
    panel.set_xlabel("joint minus alone, points of 100 (green, red: significant after Holm)", fontsize=8)
