"""Runs the trials that are still to be done, one after another, and notes each result at once."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

from proofs.evidence import Cell, Findings, NotPossibleHereError

OpenBench: TypeAlias = Callable[[Path], AbstractContextManager[Any]]  # makes what trials start from, below a folder


class Runner:
    """Does trials and remembers how they ended; `open_bench` makes what they all start from."""

    def __init__(self, folder: Path, open_bench: OpenBench, *, code: str, date: str) -> None:
        self.num_failed = 0
        self._folder = folder
        self._open_bench = open_bench
        self._code = code
        self._date = date

    def run(self, cells: Iterable[Cell], *, seconds: float, again: bool) -> None:
        """Do trials until all are done or the time is up; `again` repeats those that passed."""
        deadline = time.monotonic() + seconds
        self._folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=self._folder, prefix="work-", ignore_cleanup_errors=True) as work:
            Path(work).chmod(0o755)  # for the trial that becomes another user
            with self._open_bench(Path(work)) as bench:
                for cell, trial in self._waiting(cells, again=again):
                    if time.monotonic() > deadline:
                        sys.stderr.write("the time is up; call again to go on\n")
                        break
                    self._try(bench, cell, trial)

    def _waiting(self, cells: Iterable[Cell], *, again: bool) -> Iterator[tuple[Cell, str]]:
        for cell in cells:
            findings = Findings.read(self._folder, cell.number)
            for trial in cell.trials:
                if again or not findings.is_settled(trial, code=self._code):
                    yield cell, trial

    def _try(self, bench: Any, cell: Cell, trial: str) -> None:
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
