"""How close `banyan plan` comes to what a run then takes: peak memory and wall-clock time of three recipes.

    python benchmarks/plan_accuracy.py [--quick] [--seconds 45]

For each recipe: a probe, the run itself as a process of its own, and a probe again. The two probes differ by what the
machine drifted meanwhile; the plan that counts is the first one. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

MIB = 2**20
MEMORY_GOAL, TIME_GOAL = 0.10, 0.15
PROBE_SECONDS, QUICK_PROBE_SECONDS = 10.0, 2.0
TEXT = "the banyan sends down roots from its branches and one tree becomes a forest in the yard of the old house"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One recipe: planned before, measured, planned after. Units: bytes, seconds."""

    name: str
    planned: dict[str, Any]
    measured_bytes: int
    measured_seconds: float
    measured_parts: dict[str, float]  # of those seconds, as the run itself wrote them down
    planned_after: dict[str, Any]

    @property
    def memory_error(self) -> float:
        return self.planned["peak_bytes"] / self.measured_bytes - 1

    @property
    def time_error(self) -> float:
        return self.planned["seconds"] / self.measured_seconds - 1

    @property
    def time_error_of_both(self) -> float:
        """Of the mean of both plans: what is left of the error where the machine only changed its pace."""
        both = (self.planned["seconds"] + self.planned_after["seconds"]) / 2
        return both / self.measured_seconds - 1

    @property
    def drift(self) -> float:
        """How much slower a step was after the run than before it."""
        return self.planned_after["step_seconds"] / self.planned["step_seconds"] - 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny runs of a few seconds: does it work at all")
    parser.add_argument("--seconds", type=float, default=45.0, help="how long the steps of each run should take")
    parser.add_argument("--only", help="one of the recipes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ.update(BANYAN_RUNS=str(folder / "runs"), BANYAN_DATABASE=f"sqlite:///{folder / 'runs.db'}")
        write_data(folder)
        chosen = [r for r in recipes(folder, is_quick=options.quick) if options.only in (None, r["name"])]
        outcomes = [examine(recipe, folder, options=options) for recipe in chosen]
    for outcome in outcomes:
        print(told(outcome))
    print(json.dumps({"figures": [row for outcome in outcomes for row in figures(outcome)]}))


def write_data(folder: Path) -> None:
    """Write a text, labelled rows and pairs that depend on nothing but this file."""
    words = TEXT.split()
    sentences = [
        " ".join(words[(7 * n + n * n // 3 + i * (n % 5 + 1)) % len(words)] for i in range(12)) for n in range(4000)
    ]
    (folder / "prose.txt").write_text(".\n".join(sentences), encoding="utf-8")
    rows = [{"text": sentence, "label": ["root", "branch", "leaf"][n % 3]} for n, sentence in enumerate(sentences)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    pairs = [{"document": s, "summary": " ".join(s.split()[:4])} for s in sentences]
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)), encoding="utf-8")


def recipes(folder: Path, *, is_quick: bool) -> list[dict[str, Any]]:
    """Return a small language model, a mixture of tasks that are answered while it trains, and a larger model."""
    text = str(folder / "prose.txt")
    prose: dict[str, Any] = {"name": "prose", "kind": "language_modeling", "data": {"train": text, "validation": text}}
    labels = task("part", "classification", folder / "rows.jsonl")
    summaries = task("short", "summarization", folder / "pairs.jsonl")
    small = {"tokenizer": {"vocab_size": 512}, "evaluation": {"max_validation_examples": 32}}
    large = {"preset": "banyan-nano" if is_quick else "banyan-small"}
    return [
        {"name": "prose", **small, "tasks": [prose], "train": {"seq_len": 128, "micro_batch_seqs": 16}},
        {
            "name": "tasks",
            **small,
            "model": {"preset": "banyan-micro"},
            "tasks": [prose, labels, summaries],
            "train": {"seq_len": 128, "micro_batch_seqs": 8},
        },
        {
            "name": "large",
            **small,
            "model": large,
            "tokenizer": {"vocab_size": 4096},
            "optimizer": {"name": "adamw", "learning_rate": 1e-3},
            "tasks": [prose],
            "train": {"seq_len": 256, "micro_batch_seqs": 4, "accumulation_steps": 2},
        },
    ]


def task(name: str, kind: str, path: Path) -> dict[str, Any]:
    return {"name": name, "kind": kind, "data": {"train": str(path), "validation_fraction": 0.05}}


def examine(recipe: dict[str, Any], folder: Path, *, options: argparse.Namespace) -> Outcome:
    """Plan a recipe, run it with as many steps as fill the time, and plan it once more."""
    path = folder / f"{recipe['name']}.yaml"
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    pace = planned(path, steps=1000, seconds=QUICK_PROBE_SECONDS)["step_seconds"]
    steps = 20 if options.quick else max(20, round(options.seconds / pace))
    seconds = QUICK_PROBE_SECONDS if options.quick else PROBE_SECONDS
    before = planned(path, steps=steps, seconds=seconds)
    measured_bytes, measured_seconds = run(path, steps=steps)
    parts = parts_of(folder / "runs" / recipe["name"])
    return Outcome(
        name=recipe["name"],
        planned=before,
        measured_bytes=measured_bytes,
        measured_seconds=measured_seconds,
        measured_parts=parts,
        planned_after=planned(path, steps=steps, seconds=seconds),
    )


def planned(recipe: Path, *, steps: int, seconds: float) -> dict[str, Any]:
    """Return what `banyan plan` says."""
    words = ["plan", str(recipe), f"train.steps={steps}", "--seconds", str(seconds), "--json"]
    done = subprocess.run([sys.executable, "-m", "banyan", *words], stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout))


def run(recipe: Path, *, steps: int) -> tuple[int, float]:
    """Train in a process of its own and return the most memory it held, and its wall-clock time."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "banyan", "train", str(recipe), f"train.steps={steps}", "--quiet"]
    process = subprocess.Popen(command)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    peak = used.ru_maxrss if sys.platform == "darwin" else used.ru_maxrss * 1024
    return peak, time.perf_counter() - began


def parts_of(run_directory: Path) -> dict[str, float]:
    """Return how long a run says its steps and its evaluations took."""
    metrics, events = (
        [json.loads(line) for line in (run_directory / name).read_text(encoding="utf-8").splitlines()]
        for name in ("metrics.jsonl", "events.jsonl")
    )
    evaluations = [event["seconds"] for event in events if event["event"] == "evaluated"]
    return {"steps": metrics[-1]["seconds"], "evaluations": sum(evaluations), "the first of them": evaluations[0]}


def told(outcome: Outcome) -> str:
    """Return a line for a person, and two with where the time goes."""
    plan = outcome.planned
    parts, measured = (
        "  ".join(f"{name} {seconds:.1f}" for name, seconds in found.items())
        for found in (plan["time"], outcome.measured_parts)
    )
    return (
        f"{outcome.name:<8} memory {plan['peak_bytes'] / MIB:6.0f} MiB planned, {outcome.measured_bytes / MIB:6.0f} "
        f"measured ({outcome.memory_error:+.1%})   time {plan['seconds']:6.1f} s planned, "
        f"{outcome.measured_seconds:6.1f} measured ({outcome.time_error:+.1%}; "
        f"the mean of both plans {outcome.time_error_of_both:+.1%})   "
        f"a step drifted {outcome.drift:+.1%} from {plan['step_seconds'] * 1000:.1f} ms\n"
        f"         {plan['size']['steps']} steps, planned seconds: {parts}\n"
        f"         measured seconds: {measured}"
    )


def figures(outcome: Outcome) -> list[dict[str, Any]]:
    """Return the rows for programs: how far the goal is undercut, above 1 being better."""
    pairs = (("memory_error", outcome.memory_error, MEMORY_GOAL), ("time_error", outcome.time_error, TIME_GOAL))
    rows = [
        {
            "name": f"plan/{outcome.name}/{name}",
            "value": round(error, 4),
            "unit": "share of what was measured",
            "ratio": round(min(goal / max(abs(error), 1e-3), 100.0), 3),
            "against": f"goal of {goal:.0%}",
        }
        for name, error, goal in pairs
    ]
    drift = {"name": f"plan/{outcome.name}/drift", "value": round(outcome.drift, 4), "unit": "share of a step"}
    return [*rows, {**drift, "ratio": 1.0, "against": "itself before the run"}]


if __name__ == "__main__":
    main()
