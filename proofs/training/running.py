"""Runs the trials that are still to be done, one after another, and notes each result at once."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from proofs.training.bench import Bench
from proofs.training.evidence import Cell, Findings, NotPossibleHereError
from proofs.training.processes import import_what_a_run_needs


class Runner:
    """Does trials and remembers how they ended."""

    def __init__(self, folder: Path, *, code: str, date: str) -> None:
        self.num_failed = 0
        self._folder = folder
        self._code = code
        self._date = date

    def run(self, cells: Iterable[Cell], *, seconds: float, quick: bool, again: bool) -> None:
        """Do trials until all are done or the time is up; `again` repeats those that passed."""
        deadline = time.monotonic() + seconds
        self._folder.mkdir(parents=True, exist_ok=True)
        import_what_a_run_needs()
        with TemporaryDirectory(dir=self._folder, prefix="work-", ignore_cleanup_errors=True) as work:
            Path(work).chmod(0o755)  # for the trial that becomes another user
            bench = Bench(Path(work))
            for cell, trial in self._waiting(cells, quick=quick, again=again):
                if time.monotonic() > deadline:
                    sys.stderr.write("the time is up; call again to go on\n")
                    break
                self._try(bench, cell, trial)

    def _waiting(self, cells: Iterable[Cell], *, quick: bool, again: bool) -> Iterator[tuple[Cell, str]]:
        for cell in cells:
            findings = Findings.read(self._folder, cell.number)
            for trial in cell.quick if quick else cell.trials:
                if again or not findings.is_settled(trial, code=self._code):
                    yield cell, trial

    def _try(self, bench: Bench, cell: Cell, trial: str) -> None:
        started = time.perf_counter()
        outcome = "passed"
        try:
            seen = cell.run(bench, trial)
        except NotPossibleHereError as error:
            outcome, seen = "not possible", str(error)
        except Exception as error:
            outcome, seen = "failed", f"{type(error).__name__}: {error}"
            self.num_failed += 1
            if not isinstance(error, AssertionError):
                traceback.print_exc()
        seconds = round(time.perf_counter() - started, 2)
        # Read again: another process may have added to it.
        findings = Findings.read(self._folder, cell.number)
        findings.note(trial, outcome=outcome, seen=seen, seconds=seconds, code=self._code, date=self._date)
        sys.stderr.write(f"{cell.number} {trial}: {outcome} in {seconds} s: {seen}\n")
