"""`python -m proofs.transfer`: do the runs that have not been done yet, and write down what they scored.

Results lie in runs/proofs/transfer, one file a run, so that the proof may be done in several calls.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from banyan.cli.main import flushed_denormals, prepare_process
from proofs.transfer.grid import SIZES, Cell, cells
from proofs.transfer.learners import LEARNERS

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "runs/proofs/transfer"
PAGE = ROOT / "docs/transfer.md"
PLOT = ROOT / "docs/images/transfer.png"


def main() -> int:
    """Do what is left of the grid within the time, print the table, and write the page if asked to."""
    options = _options()
    prepare_process(debug=False)
    from proofs.transfer import page, trials  # torch loads with them, and reads its threads from the environment

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) if options.quick else RESULTS
        runner = trials.Trials(folder, trunk=options.trunk.resolve())
        with flushed_denormals(), suppress(KeyboardInterrupt):
            _run(runner, _chosen(options), seconds=options.time_limit)
        sys.stdout.write("\n".join((*page.table(runner.result), "", *page.verdicts(runner.result))) + "\n")
        if options.page:
            page.write_page(PAGE, runner.result, date=datetime.now(UTC).date().isoformat())
            page.draw(PLOT, runner.result)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m proofs.transfer", description=__doc__)
    parser.add_argument("--trunk", type=Path, default=ROOT / "runs/trunk/best", help="model of recipes/trunk.yaml")
    parser.add_argument("--time-limit", type=float, default=7200, metavar="SECONDS", help="begin no run after it")
    parser.add_argument("--data", nargs="*", help="data sets; all unless given")
    parser.add_argument("--methods", nargs="*", choices=list(LEARNERS), default=list(LEARNERS))
    parser.add_argument("--sizes", nargs="*", type=_size, default=list(SIZES), help="numbers of examples, or all")
    parser.add_argument("--quick", action="store_true", help="the first run of each way to learn, kept nowhere")
    parser.add_argument("--page", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    options = parser.parse_args()
    if "BANYAN_DATA" not in os.environ:
        parser.error("set BANYAN_DATA to the folder of the data sets")
    if not (options.trunk / "model.json").is_file():
        parser.error(f"{options.trunk} is no model; make it with: banyan train recipes/trunk.yaml")
    return options


def _size(word: str) -> int | None:
    return None if word == "all" else int(word)


def _chosen(options: argparse.Namespace) -> list[Cell]:
    wanted = [
        cell
        for cell in cells(tuple(options.methods))
        if cell.size in options.sizes and (not options.data or cell.data.name in options.data)
    ]
    return wanted[: len(options.methods)] if options.quick else wanted


def _run(runner, wanted: list[Cell], *, seconds: float) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + seconds
    for cell in wanted:
        if runner.result(cell) is not None:
            continue
        if time.monotonic() > deadline:
            sys.stderr.write("the time is up; call again to go on\n")
            return
        found = runner.do(cell)
        sys.stderr.write(f"{cell.name}: {found['score']:.4f} in {found['seconds']} s, {found['baselines']}\n")


if __name__ == "__main__":
    sys.exit(main())
