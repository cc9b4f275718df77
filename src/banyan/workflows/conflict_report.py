"""The part of a report that says whether a run's tasks pulled the weights in different directions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from banyan.train.conflicts import CONFLICT_BELOW
from banyan.train.run_files import METRICS_FILE, read_json_lines


def conflict_section(run_directory: Path) -> list[str]:
    """Return the newest cosines of a run as lines of Markdown; none where a run was never looked at."""
    lines = read_json_lines(run_directory / METRICS_FILE)
    newest = next((line for line in reversed(lines) if line.get("task_cosines")), None)
    if newest is None:
        return []
    cosines = newest["task_cosines"]
    share = sum(cosine < CONFLICT_BELOW for cosine in cosines.values()) / len(cosines)
    return [
        "",
        "## Do the tasks conflict?",
        "",
        f"Cosines between the gradients of the tasks on the last block, running means at step {newest['step']}. "
        f"{share:.0%} of the pairs lie below {CONFLICT_BELOW}.",
        "",
        *_matrix(cosines),
    ]


def _matrix(cosines: Mapping[str, float]) -> list[str]:
    """Return a table with a row and a column for each task."""
    by_pair = {tuple(pair.split(" / ")): cosine for pair, cosine in cosines.items()}
    names = list(dict.fromkeys(name for pair in by_pair for name in pair))
    table = [f"| | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for row in names:
        cells = [by_pair.get((row, column), by_pair.get((column, row))) for column in names]
        table.append(f"| {row} | {' | '.join('–' if cell is None else f'{cell:.2f}' for cell in cells)} |")
    return table
