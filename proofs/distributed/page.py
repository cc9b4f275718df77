"""What was found about several processes, as a page for people."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from proofs.distributed.learning import LIMITS, OPTIMIZERS, STEPS, Sizes
from proofs.distributed.trials import LAYOUTS, READ_BY, SAVED_AFTER, SAVED_BY

FAILS = "FAILS"


def page(compared: Mapping[int, Any], resumed: Mapping[int, Any]) -> str:
    """Return the tables of what was found, by the number of ranks."""
    date = max(result["date"] for result in (*compared.values(), *resumed.values()))
    lines = [
        "# Proof: several processes learn what one learns",
        "",
        f"`make proof-distributed`, {date}, processes over gloo on a CPU; machine: {_machine()}. Largest",
        f"relative difference of losses and gradient norms from one process, over {STEPS} steps of a tiny model of",
        "three tasks (words, labels, spans; dropout 0.1; 11 rows a step in two micro-batches, so that shares are",
        "unequal and some have no row of a task).",
        f"Limits: {LIMITS['float64']:g} in float64, {LIMITS['float32']:g} in float32.",
        "",
        *_table(compared, LAYOUTS),
        "",
        "## Saved by two, read by one and by four",
        "",
        f"Two ranks ({_named(SAVED_BY)}) save after {SAVED_AFTER} steps, each its pieces of weights and of optimizer",
        "state, as with `parallel.sharded_checkpoints=on`. Other numbers of ranks read them and go on. The same",
        "differences, over the steps that follow, from one process that was never interrupted.",
        "",
        *_table(resumed, READ_BY),
    ]
    return "\n".join(lines) + "\n"


def _table(results: Mapping[int, Any], layouts: Mapping[int, Sequence[Sizes]]) -> list[str]:
    lines = ["| ranks | data × shard × tensor | optimizer | float64 | float32 | |", "|---|---|---|---|---|---|"]
    for world_size, result in sorted(results.items()):
        found = {(tuple(r["sizes"]), r["optimizer"], r["precision"]): r["difference"] for r in result["rows"]}
        for sizes in layouts[world_size]:
            for optimizer in OPTIMIZERS:
                differences = [found[sizes, optimizer, precision] for precision in LIMITS]
                is_within = all(d <= limit for d, limit in zip(differences, LIMITS.values(), strict=True))
                cells = [str(world_size), _named(sizes), optimizer, *(f"{d:.1e}" for d in differences)]
                lines.append(f"| {' | '.join(cells)} | {'holds' if is_within else FAILS} |")
    return lines


def _named(sizes: Sizes) -> str:
    return " × ".join(map(str, sizes))


def _machine() -> str:
    """Return cores, processor and PyTorch; the processor's name where Linux tells it."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text("utf-8").splitlines() if told.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    processor = names[0] if names else platform.machine()
    return f"{os.cpu_count()} cores, {processor}, torch {torch.__version__}"
