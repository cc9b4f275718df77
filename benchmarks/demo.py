"""How long `banyan demo` takes, how much memory, and how its eight scores stand beside their baselines.

    python benchmarks/demo.py [--quick] [--minutes 30]

The baselines are learned and scored by the same call on the same examples. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from typing import Any

GIB = 2**30
MEMORY_GOAL_GIB = 4.0
MINUTES_GOAL = 10.0
LOWER_IS_BETTER = {"bits_per_byte", "perplexity"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the 90-second form")
    parser.add_argument("--minutes", type=float, help="another budget than 10 minutes")
    options = parser.parse_args()
    words = ["--quick"] if options.quick else ["--minutes", str(options.minutes)] if options.minutes else []
    seconds, report = run_demo(words)
    figures = [
        figure(
            "demo/wall_time", seconds / 60, "minutes", against="goal", other=options.minutes or MINUTES_GOAL, low=True
        ),
        figure(
            "demo/peak_memory",
            report["peak_memory_bytes"] / GIB,
            "GiB",
            against="goal",
            other=MEMORY_GOAL_GIB,
            low=True,
        ),
        *(row for name, task in report["tasks"].items() for row in task_figures(name, task)),
    ]
    for row in figures:
        print(f"{row['name']:<60} {row['value']:>9.3f} {row['unit']:<14} {row['ratio']:>7.2f} × {row['against']}")
    print(json.dumps({"figures": figures}))


def run_demo(words: list[str]) -> tuple[float, dict[str, Any]]:
    """Run the demo in a folder of its own and return its wall time and its report."""
    with tempfile.TemporaryDirectory() as runs:
        environment = {**os.environ, "BANYAN_RUNS": runs}
        environment.pop("BANYAN_DATABASE", None)
        began = time.monotonic()
        command = [sys.executable, "-m", "banyan", "demo", "--json", *words]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        return time.monotonic() - began, json.loads(done.stdout)


def task_figures(name: str, task: dict[str, Any]) -> list[dict[str, Any]]:
    metric = task["main_metric"]
    return [
        figure(
            f"demo/{name}",
            task["scores"][metric],
            metric,
            against=baseline["name"],
            other=baseline["scores"][metric],
            low=metric in LOWER_IS_BETTER,
        )
        for baseline in task["baselines"]
    ]


def figure(name: str, value: float, unit: str, *, against: str, other: float, low: bool) -> dict[str, Any]:
    """Return one figure; the ratio is above 1 where ours is better."""
    ours, theirs = max(value, 1e-9), max(other, 1e-9)
    ratio = theirs / ours if low else ours / theirs
    return {"name": name, "value": value, "unit": unit, "ratio": round(ratio, 4), "against": against}


if __name__ == "__main__":
    main()
