"""`python -m proofs.distributed`: the losses of 50 steps at 1, 2 and 4 ranks, for every way to divide the work.

Results are kept in runs/proofs/distributed, one file for each number of ranks, so that a proof that was stopped goes
on; --again repeats all. The table is written to docs/proofs/distributed.md.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from banyan.core.process import process_place
from banyan.testing.training import HEADS, tiny_learner, tiny_loader
from banyan.train.balance import default_balance
from banyan.train.distributed.heartbeat import Heartbeat
from banyan.train.distributed.world import ProcessRanks
from banyan.train.losses import joint_loss
from banyan.train.optimizer import OptimizerConfig
from banyan.train.ranks import ALONE, Ranks
from banyan.train.step import train_step

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "runs/proofs/distributed"
PAGE = ROOT / "docs/proofs/distributed.md"
STEPS = 50
LIMITS = {"float64": 1e-9, "float32": 1e-4}  # relative difference of losses and gradient norms
LAYOUTS = {  # ranks along data, shard and tensor
    2: [(2, 1, 1), (1, 2, 1), (1, 1, 2)],
    4: [(4, 1, 1), (1, 4, 1), (1, 1, 4), (2, 2, 1), (2, 1, 2), (1, 2, 2)],
}


def losses(ranks: Ranks, *, precision: str, optimizer: str) -> list[tuple[float, float]]:
    """Train the tiny model of three tasks, seven rows a step in two micro-batches of unequal shares."""
    model = tiny_learner(num_kv_heads=4, dropout=0.1)
    model = model.double() if precision == "float64" else model
    balance, loader = default_balance(model, HEADS), tiny_loader(rows_per_batch=11)
    ranks.divide(model)
    moved_by = ranks.optimizer_of(model, OptimizerConfig(name=optimizer))  # type: ignore[arg-type]
    found = []
    for step in range(1, STEPS + 1):
        moved_by.prepare_step(step, rate_factor=1.0)
        result = train_step(
            model,
            loader.next_batch(),
            optimizer=moved_by,
            loss_function=partial(joint_loss, task_heads=HEADS),
            balance=balance,
            accumulation_steps=2,
            ranks=ranks,
        )
        found.append((result.loss, result.grad_norm))
    return found


def work(path: Path) -> None:
    """Be one rank: compare every layout of this many ranks with one process; rank 0 writes what was found."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    place, rows = process_place(), []
    for precision in LIMITS:
        for optimizer in ("muon", "adamw"):
            expected = losses(ALONE, precision=precision, optimizer=optimizer)
            for sizes in LAYOUTS[place.world_size]:
                heartbeat = Heartbeat(None, rank=place.rank)
                ranks = ProcessRanks(place, sizes=sizes, device=torch.device("cpu"), heartbeat=heartbeat)
                found = losses(ranks, precision=precision, optimizer=optimizer)
                difference = largest_difference(expected, found)
                rows.append({"sizes": sizes, "precision": precision, "optimizer": optimizer, "difference": difference})
    if place.is_main:
        path.write_text(json.dumps({"date": datetime.now(UTC).date().isoformat(), "rows": rows}), "utf-8")
    dist.destroy_process_group()


def largest_difference(expected: list[tuple[float, float]], found: list[tuple[float, float]]) -> float:
    """Relative, over the losses and gradient norms of all steps."""
    pairs = [pair for x, y in zip(expected, found, strict=True) for pair in zip(x, y, strict=True)]
    return max(abs(a - b) / abs(a) for a, b in pairs)


def try_out(world_size: int, path: Path) -> None:
    """Run all layouts of so many ranks."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(world_size),
        "OMP_NUM_THREADS": "1",
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "proofs.distributed", "--worker", str(path)],
            env={**os.environ, **shared, "RANK": str(rank), "OMP_NUM_THREADS": "1"},
            cwd=ROOT,
        )
        for rank in range(world_size)
    ]
    if any([process.wait() for process in processes]):
        raise SystemExit(f"{world_size} ranks: a process failed")


def page(results: dict[int, dict[str, Any]]) -> str:
    """Return the table of what was found."""
    lines = [
        "# Proof: several processes learn what one learns",
        "",
        f"`make proof-distributed`, {max(r['date'] for r in results.values())}, processes over gloo on a CPU. Largest",
        f"relative difference of losses and gradient norms from one process, over {STEPS} steps of a tiny model of",
        "three tasks (words, labels, spans; dropout 0.1; 11 rows a step in two micro-batches, so that shares are",
        "unequal and some have no row of a task).",
        f"Limits: {LIMITS['float64']:g} in float64, {LIMITS['float32']:g} in float32.",
        "",
        "| ranks | data × shard × tensor | optimizer | float64 | float32 | |",
        "|---|---|---|---|---|---|",
    ]
    for world_size, result in sorted(results.items()):
        found = {(tuple(r["sizes"]), r["optimizer"], r["precision"]): r["difference"] for r in result["rows"]}
        for sizes in LAYOUTS[world_size]:
            for optimizer in ("muon", "adamw"):
                differences = [found[sizes, optimizer, precision] for precision in LIMITS]
                is_within = all(d <= limit for d, limit in zip(differences, LIMITS.values(), strict=True))
                cells = [str(world_size), " × ".join(map(str, sizes)), optimizer, *(f"{d:.1e}" for d in differences)]
                lines.append(f"| {' | '.join(cells)} | {'holds' if is_within else 'FAILS'} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Try what was not tried yet, write the table, and return 1 if a limit does not hold."""
    parser = argparse.ArgumentParser(prog="python -m proofs.distributed", description=__doc__)
    parser.add_argument("--again", action="store_true", help="repeat what has been tried")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker)
        return 0
    RESULTS.mkdir(parents=True, exist_ok=True)
    for world_size in LAYOUTS:
        path = RESULTS / f"{world_size}-ranks.json"
        if options.again or not path.is_file():
            try_out(world_size, path)
    text = page({n: json.loads((RESULTS / f"{n}-ranks.json").read_text("utf-8")) for n in LAYOUTS})
    PAGE.write_text(text, "utf-8")
    sys.stdout.write(text)
    return int("FAILS" in text)


if __name__ == "__main__":
    sys.exit(main())
