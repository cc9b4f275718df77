"""Real `banyan serve` processes that start in a moment: forked from a process that has imported everything already.

A child runs `banyan.cli.main.main` as the program does, with the words of a command line; the product knows nothing of
it. The process that forks holds no threads, however many the proof itself has.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import TypeAlias

Fault: TypeAlias = Callable[[], None]  # runs in the process first, and changes it from outside

_NEEDED_BY_A_SERVER = (
    "banyan.cli.serve",
    "alembic.command",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "sqlalchemy.dialects.postgresql.psycopg",
    "uvicorn.protocols.http.h11_impl",
    "uvicorn.lifespan.off",
    "proofs.serving.goals.processes",
)


@cache
def _forks() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_NEEDED_BY_A_SERVER))
    return context


class BanyanProcess:
    """One process that was started with `banyan WORDS…`; what it says goes to the end of a file."""

    def __init__(
        self,
        words: Sequence[str],
        *,
        output: Path,
        environment: Mapping[str, str] | None = None,
        fault: Fault | None = None,
    ) -> None:
        self.output = output
        given = (list(words), output, dict(environment or {}), fault)
        self._process = _forks().Process(target=_become_banyan, args=given)
        self._process.start()

    @property
    def pid(self) -> int:
        """Its number."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def code(self) -> int | None:
        """Its exit code; minus the signal's number if one killed it; None: it still runs."""
        return self._process.exitcode

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; nothing happens if it has ended."""
        if self.code is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def wait(self, timeout_seconds: float) -> int | None:
        """Wait for its end and return the exit code; None: it still runs."""
        deadline = time.monotonic() + timeout_seconds
        self._process.join(timeout_seconds)
        # The number of a process is free a moment after its end is known.
        while self.code is not None and Path(f"/proc/{self.pid}").exists() and time.monotonic() < deadline:
            time.sleep(0.001)
        return self.code

    def said(self) -> str:
        """Return everything written to its output so far, also by those that wrote there before it."""
        return self.output.read_text("utf-8", errors="replace")


def _become_banyan(words: list[str], output: Path, environment: dict[str, str], fault: Fault | None) -> None:
    descriptor = os.open(output, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.environ.update(environment)
    if fault is not None:
        fault()
    import_module("banyan.cli.main").main(words)
