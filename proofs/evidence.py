"""What has been tried, and how it ended: one JSON file for each row of the matrix, and a page for people."""

from __future__ import annotations

import json
import os
import platform
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from banyan.core.files import atomic_write_text
from proofs.marks import write_between
from proofs.record import one_a_line, read_record

_CODE_DIGITS = 12  # of the hash of the sources, in a record


class NotPossibleHereError(Exception):
    """The trial needs something this machine or this version does not have; it is neither passed nor failed."""


# (bench, name of the trial) → what was seen; it raises AssertionError where what was to hold does not.
Trial: TypeAlias = Callable[[Any, str], str]


def first_word(trial: str) -> str:
    """Return the kind of a trial whose name begins with it."""
    return trial.partition(" ")[0]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One row of the matrix: a fault, and how often it is tried."""

    number: str  # D-01
    fault: str  # what is done
    passes_if: str
    trials: tuple[str, ...]
    run: Trial
    quick: tuple[str, ...] = ()  # those of the short form
    kind_of: Callable[[str], str] | None = None  # of trial, by its name, where a row tries several kinds
    trial_size: str = ""  # what one trial is, where it is many attempts: "1,000 requests"

    @property
    def size(self) -> int:
        """How many trials there are."""
        return len(self.trials)

    def short(self) -> Cell:
        """Return the row with the trials of its short form alone."""
        return replace(self, trials=self.quick, trial_size="")


@dataclass(kw_only=True)
class Findings:
    """How the trials of one cell ended so far."""

    path: Path
    trials: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path, number: str) -> Findings:
        """Read what earlier calls found."""
        path = folder / f"{number}.json"
        return cls(path=path, trials=json.loads(path.read_text()) if path.is_file() else {})

    def note(self, trial: str, *, outcome: str, seen: str, seconds: float, code: str, date: str) -> None:
        """Remember how a trial ended, at once."""
        self.trials[trial] = {"outcome": outcome, "seen": seen, "seconds": seconds, "code": code, "date": date}
        self._write()

    def _write(self) -> None:
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(json.dumps(self.trials, indent=1, ensure_ascii=False))
        temporary.replace(self.path)

    def add(self, trials: dict[str, dict[str, Any]]) -> None:
        """Take what was found elsewhere about trials that nothing is known of here."""
        if missing := {name: found for name, found in trials.items() if name not in self.trials}:
            self.trials.update(missing)
            self._write()

    def is_settled(self, trial: str, *, code: str) -> bool:
        """Whether a trial need not be done again: it passed, or it failed with this very code."""
        found = self.trials.get(trial)
        return found is not None and (
            found["outcome"] == "passed" or (found["outcome"] == "failed" and found["code"] == code)
        )

    def count(self, cell: Cell, outcome: str) -> int:
        """Return how many of a cell's trials ended so."""
        return sum(self.trials.get(trial, {}).get("outcome") == outcome for trial in cell.trials)

    def count_by_kind(self, cell: Cell) -> str:
        """Return how many trials have passed of each kind; empty where a row tries one kind."""
        if cell.kind_of is None:
            return ""
        sizes = Counter(map(cell.kind_of, cell.trials))
        passed = [t for t in cell.trials if self.trials.get(t, {}).get("outcome") == "passed"]
        counts = Counter(map(cell.kind_of, passed))
        return ", ".join(f"{kind} {counts[kind]} of {size}" for kind, size in sizes.items())

    def state(self, cell: Cell) -> str:
        """Return one word for the whole cell."""
        if num_failed := self.count(cell, "failed"):
            return f"{num_failed} FAILED"
        passed = self.count(cell, "passed")
        return "passed" if passed == cell.size else "in part" if passed else "not run"


def take_record(record: Path, folder: Path) -> None:
    """Give a folder what the record of a proof says and the folder does not know: what other machines have done."""
    for number, trials in read_record(record).items():
        Findings.read(folder, number).add(trials)


def write_record(record: Path, cells: Iterable[Cell], folder: Path) -> None:
    """Write how the trials that passed went, one line each, so that a proof may grow over several machines."""
    found: dict[str, dict[str, Any]] = {}
    for cell in cells:
        known = Findings.read(folder, cell.number).trials
        passed = {name: known[name] for name in cell.trials if known.get(name, {}).get("outcome") == "passed"}
        found[cell.number] = {name: {**one, "code": one["code"][:_CODE_DIGITS]} for name, one in passed.items()}
    record.parent.mkdir(parents=True, exist_ok=True)
    atomic_write_text(record, one_a_line(found, depth=2) + "\n")


def table(cells: Iterable[Cell], folder: Path) -> list[str]:
    """Return the rows of the matrix as Markdown."""
    lines = ["| # | fault | passes if | trials passed | seconds |", "|---|---|---|---|---|"]
    for cell in cells:
        findings = Findings.read(folder, cell.number)
        done = [found for trial, found in findings.trials.items() if trial in cell.trials]
        state, passed = findings.state(cell), findings.count(cell, "passed")
        why = next((found["seen"] for found in done if found["outcome"] == "not possible"), "")
        of_size = f" × {cell.trial_size}" if cell.trial_size else ""
        shown = f"{passed} of {cell.size}{of_size}" if state in ("passed", "in part") else state
        note = why or (done[0]["seen"] if cell.size == 1 and passed else findings.count_by_kind(cell))
        result = f"{shown} ({note})" if note else shown
        seconds = sum(found["seconds"] for found in done)
        lines.append(f"| {cell.number} | {cell.fault} | {cell.passes_if} | {result} | {seconds:.0f} |")
    return lines


def write_page(path: Path, cells: Sequence[Cell], folder: Path, *, begin: str, end: str) -> None:
    """Put what is known between two marks of a page."""
    passed = [
        found
        for cell in cells
        for name, found in Findings.read(folder, cell.number).trials.items()
        if name in cell.trials and found["outcome"] == "passed"  # a file may hold names the matrix no longer has
    ]
    dates = sorted({trial["date"] for trial in passed}) or ["never"]
    codes = {trial["code"][:_CODE_DIGITS] for trial in passed}
    machine = f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}, Python {platform.python_version()}"
    summary = (
        f"{len(passed):,} trials have passed between {dates[0]} and {dates[-1]}, on {len(codes)} states of the "
        f"sources; machine: {machine}."
    )
    write_between(path, begin, end, [summary, "", *table(cells, folder)])
