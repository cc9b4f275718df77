"""The command line of a proof that is a matrix: try what has not been tried yet, and write down what was seen.

Results are kept in a folder, so that a long proof may be done in several calls: a trial that passed is not done again
unless --again asks for it, one that failed is tried again when the code has changed. What has passed is also written to
a record beside the page, so that another machine goes on from there. The trials run on a copy of the
sources, so that editing may go on meanwhile.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from proofs.evidence import Cell, table, take_record, write_page, write_record
from proofs.runner import OpenBench, Runner
from proofs.source_copy import ROOT, become_a_copy


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """One proof: its rows, what they start from, and where its results are kept and shown."""

    module: str  # python -m …
    results: Path
    page: Path
    record: Path  # what has passed, on any machine
    begin: str  # the two marks of the page
    end: str
    load: Callable[[], tuple[Sequence[Cell], OpenBench]]  # called on the copy, so that it imports from there


def run_matrix(matrix: Matrix) -> int:
    """Do what the command line asks for, print the table, and return 1 if anything failed."""
    options = _options(matrix)
    code = become_a_copy(matrix.module, matrix.results, committed=options.committed)
    cells, open_bench = matrix.load()
    folder = matrix.results / ("quick" if options.quick else "")
    chosen = [cell for cell in cells if not options.only or cell.number in options.only]
    if options.quick:
        chosen = [cell.short() for cell in chosen if cell.quick]
    runner = Runner(folder, open_bench, code=code, date=datetime.now(UTC).date().isoformat())
    if not options.quick:
        take_record(matrix.record, folder)
    if not options.show:
        runner.run(chosen, seconds=options.time_limit, again=options.again or options.quick)
    sys.stdout.write("\n".join(table(chosen, folder)) + "\n")
    if options.page:
        write_record(matrix.record, cells, folder)
        write_page(matrix.page, cells, folder, begin=matrix.begin, end=matrix.end)
    return 1 if runner.num_failed else 0


def _options(matrix: Matrix) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m {matrix.module}", description=__doc__)
    parser.add_argument("--only", nargs="*", metavar="NUMBER", help="rows of the matrix; all unless given")
    parser.add_argument("--time-limit", type=float, default=7200, metavar="SECONDS", help="begin no trial after it")
    parser.add_argument("--quick", action="store_true", help="the short form; keeps its results apart")
    parser.add_argument("--again", action="store_true", help="repeat what has passed")
    parser.add_argument("--show", action="store_true", help="only print what is known")
    parser.add_argument("--committed", action="store_true", help="try the last commit, not the files as they are")
    parser.add_argument("--page", action="store_true", help=f"write {matrix.page.relative_to(ROOT)}")
    return parser.parse_args()
