"""`python -m proofs.distributed`: the losses of 50 steps at 1, 2 and 4 ranks, for every way to divide the work.

Then what two ranks have saved is read by one and by four. Results are kept in runs/proofs/distributed, one file for
each number of ranks, so that a proof that was stopped goes on; --again repeats all. The tables are written to
docs/proofs/distributed.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from banyan.core.process import process_place
from banyan.testing.processes import started
from proofs.distributed.page import FAILS, page
from proofs.distributed.trials import LAYOUTS, READ_BY, SAVED_BY, compare, go_on, save

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "runs/proofs/distributed"
SHARDS = RESULTS / "shards"
PAGE = ROOT / "docs/proofs/distributed.md"
NUM_SAVING = SAVED_BY[0] * SAVED_BY[1] * SAVED_BY[2]


def work(trial: str, path: Path) -> None:
    """Be one rank of a job; rank 0 writes what was found."""
    torch.set_num_threads(1)
    place, meeting = process_place(), path.with_suffix(".meeting")
    if place.world_size > 1:  # they meet at a file: a port that was free a moment ago may be taken by now
        dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=place.rank, world_size=place.world_size)
    rows: list[dict[str, Any]] = []
    if trial == "save":
        save(place, SHARDS)
    else:
        rows = compare(place) if trial == "compare" else go_on(place, SHARDS)
    if place.is_main:
        path.write_text(json.dumps({"date": datetime.now(UTC).date().isoformat(), "rows": rows}), "utf-8")
    if place.world_size > 1:
        dist.destroy_process_group()


def try_out(trial: str, path: Path, *, num_ranks: int) -> None:
    """Run a job of so many ranks."""
    path.with_suffix(".meeting").unlink(missing_ok=True)
    command = [sys.executable, "-m", "proofs.distributed", "--worker", trial, str(path)]
    shared = {**os.environ, "WORLD_SIZE": str(num_ranks), "OMP_NUM_THREADS": "1"}
    with ExitStack() as running:
        processes = [
            running.enter_context(started(command, env={**shared, "RANK": str(rank)}, cwd=ROOT))
            for rank in range(num_ranks)
        ]
        if any([process.wait() for process in processes]):
            raise SystemExit(f"{trial}: one of {num_ranks} processes failed")


def found(trial: str, name: str, *, num_ranks: int, again: bool) -> Any:
    """Return what a job found; it is tried unless it was before."""
    path = RESULTS / f"{name}.json"
    if again or not path.is_file():
        try_out(trial, path, num_ranks=num_ranks)
    return json.loads(path.read_text("utf-8"))


def main() -> int:
    """Try what was not tried yet, write the tables, and return 1 if a limit does not hold."""
    parser = argparse.ArgumentParser(prog="python -m proofs.distributed", description=__doc__)
    parser.add_argument("--again", action="store_true", help="repeat what has been tried")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker[0], Path(options.worker[1]))
        return 0
    if options.again:
        shutil.rmtree(SHARDS, ignore_errors=True)
    RESULTS.mkdir(parents=True, exist_ok=True)
    compared = {n: found("compare", f"{n}-ranks", num_ranks=n, again=options.again) for n in LAYOUTS}
    found("save", "saved", num_ranks=NUM_SAVING, again=options.again)
    resumed = {n: found("go on", f"resumed-by-{n}", num_ranks=n, again=options.again) for n in READ_BY}
    text = page(compared, resumed)
    PAGE.write_text(text, "utf-8")
    sys.stdout.write(text)
    return int(FAILS in text)


if __name__ == "__main__":
    sys.exit(main())
