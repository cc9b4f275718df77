"""Real `banyan` processes that start in milliseconds: forked from one that has imported everything already.

A child runs `banyan.cli.main.main` as the program does. A fault is a function that runs in the child first and changes
the system calls it makes (os.fsync, os.rename …) from outside; the product holds no hooks for it.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

Fault = Callable[[], None]
_WAIT_SECONDS = 240.0
_IMPORTED_BY_A_RUN = (
    "banyan.cli.main",
    "banyan.cli.train",
    "banyan.train.loss_plot",
    "alembic.command",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "tensorboardX",
    "matplotlib.backends.backend_agg",
    "torch._dynamo",
    "encodings.utf_8_sig",  # asked for late; another user may not read where the interpreter lies (D-06)
)


def import_what_a_run_needs() -> None:
    """Import everything a training process uses, so that children find it there."""
    for name in _IMPORTED_BY_A_RUN:
        import_module(name)
    # A picture of the losses takes longer than the whole tiny run, and nothing that is proved depends on it.
    import_module("banyan.train.loss_plot").draw_losses = lambda *args, **kwargs: None


@dataclass
class Child:
    """One process that was started, with what it said."""

    pid: int
    output: Path
    started: float
    seconds: float = 0.0
    code: int | None = None  # exit code; minus the signal's number if one killed it

    def wait(self, timeout_seconds: float = _WAIT_SECONDS) -> int:
        """Wait until it ends and return how."""
        if self.code is None:
            descriptor = os.pidfd_open(self.pid)
            try:
                if not select.select([descriptor], [], [], timeout_seconds)[0]:
                    os.kill(self.pid, signal.SIGKILL)
            finally:
                os.close(descriptor)
            _, status = os.waitpid(self.pid, 0)
            self.seconds = time.perf_counter() - self.started
            self.code = os.waitstatus_to_exitcode(status)
        return self.code

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal; nothing happens if the process has ended."""
        if self.code is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self.code is None and os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def said(self) -> str:
        """Return everything it printed."""
        return self.output.read_text("utf-8", errors="replace")

    def expect(self, code: int, *words: str) -> str:
        """Wait for it, and fail unless it ended with this code and said these words; return what it said."""
        found, said = self.wait(), self.said()
        assert found == code, f"exit code {found}, expected {code}: {said[-600:]}"
        for word in words:
            assert word in said, f"{word!r} is not in: {said[-600:]}"
        return said


def start_banyan(
    *words: str, cwd: Path, environment: Mapping[str, str], fault: Fault | None = None, user: int | None = None
) -> Child:
    """Start `banyan WORDS…` in a folder; `user` is a user id to become first."""
    number = len(list(cwd.glob("output-*.txt")))
    output = cwd / f"output-{number}.txt"
    output.touch()
    started = time.perf_counter()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _become_banyan(words, output, cwd=cwd, environment=environment, fault=fault, user=user)
    return Child(pid=pid, output=output, started=started)


def run_here(cwd: Path, work: Fault) -> Child:
    """Run a function in a process of its own; it fails if the function raises."""
    return start_banyan(cwd=cwd, environment={}, fault=lambda: _run_and_leave(work))


def _run_and_leave(work: Fault) -> None:
    work()
    os._exit(0)


def _become_banyan(
    words: tuple[str, ...],
    output: Path,
    *,
    cwd: Path,
    environment: Mapping[str, str],
    fault: Fault | None,
    user: int | None,
) -> None:
    code = 1
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_APPEND)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.chdir(cwd)
        os.environ.update(environment)
        if user is not None:
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
        if fault is not None:
            fault()
        main = import_module("banyan.cli.main").main
        main(list(words))
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    except BaseException as error:
        with suppress(Exception):
            import traceback

            traceback.print_exception(error)
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
