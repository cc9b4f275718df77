"""Starting the processes of a run on this machine, watching over them, and starting them anew when one is lost.

The work is that of torchrun's own agent. Added are: a watch over heartbeats, no second try where another try must end
alike, patience while a stopped run saves, and quiet.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from torch.distributed.elastic.agent.server.api import RunResult, WorkerGroup, WorkerSpec, WorkerState
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException, Std
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure
from torch.distributed.elastic.rendezvous import RendezvousParameters
from torch.distributed.elastic.rendezvous.registry import get_rendezvous_handler

from banyan.core.errors import PeerLostError
from banyan.core.process import HEARTBEATS, LAUNCHER, usable_cores
from banyan.train.distributed.heartbeat import silent_ranks

SAVE_SECONDS = 120  # that a run which was asked to stop may take to save
_LOST = PeerLostError.exit_code
_CONSEQUENCES = {_LOST, -signal.SIGTERM}  # of another rank's failure: it is missed, or the agent ends the rest
_USEFUL_TO_REPEAT = {1, _LOST}  # a bug may be a passing fault; a wrong recipe or a full disk stays what it is
# One per restart; otherwise the new rank 0 is looked for where the dead one listened (pytorch issue 135712).
_OWN_STORE = "TORCH_DISABLE_SHARE_RDZV_TCP_STORE"


def launch(
    words: Sequence[str], *, num_processes: int, max_restarts: int, tell: Callable[[str], None] = lambda line: None
) -> int:
    """Run `banyan WORDS…` in several processes that find each other, and return the exit code of the run.

    Rank 0 has this process's output; the others are silent, and what they wrote is told if one of them fails. Ctrl-C
    and SIGTERM go to all of them, so that they save and end.
    Raises: PeerLostError if processes are lost more often than `max_restarts`.
    """
    _silence_torchrun()
    with tempfile.TemporaryDirectory(prefix="banyan-ranks-") as name, _environment(Path(name), num_processes):
        agent = WatchfulAgent(
            words, num_processes=num_processes, max_restarts=max_restarts, directory=Path(name), tell=tell
        )
        try:
            return agent.exit_code(agent.run())
        except SignalException as error:
            return agent.code_after(error.sigval)


class WatchfulAgent(LocalElasticAgent):
    """torchrun's agent for one machine, with a watch over heartbeats."""

    def __init__(
        self,
        words: Sequence[str],
        *,
        num_processes: int,
        max_restarts: int,
        directory: Path,
        tell: Callable[[str], None],
    ) -> None:
        self._heartbeats = directory / "heartbeats"
        self._outputs = directory / "output"
        self._tell = tell
        others = {rank: Std.ALL for rank in range(1, num_processes)}
        super().__init__(
            spec=WorkerSpec(
                role="train",
                local_world_size=num_processes,
                entrypoint=sys.executable,
                args=("-m", "banyan", *words),
                rdzv_handler=get_rendezvous_handler(_on_this_machine()),
                max_restarts=max_restarts,
                monitor_interval=0.1,
                local_addr="127.0.0.1",
            ),
            logs_specs=DefaultLogsSpecs(log_dir=str(self._outputs), redirects=others),
            shutdown_timeout=SAVE_SECONDS,
        )

    def _start_workers(self, worker_group: WorkerGroup) -> dict[int, Any]:
        self._heartbeats.mkdir(exist_ok=True)
        for path in self._heartbeats.iterdir():  # of processes that are gone
            path.unlink(missing_ok=True)
        started: dict[int, Any] = super()._start_workers(worker_group)
        return started

    def _monitor_workers(self, worker_group: WorkerGroup) -> RunResult:
        for silent in silent_ranks(self._heartbeats):
            self._tell(f"rank {silent.rank} has been silent for {silent.seconds:.0f} s and is killed")
            _kill(silent.pid)
            (self._heartbeats / f"rank-{silent.rank}.json").unlink(missing_ok=True)
        result: RunResult = super()._monitor_workers(worker_group)
        if result.state is WorkerState.FAILED:
            self._judge(result)
        return result

    def _judge(self, result: RunResult) -> None:
        """Say what happened, and give up where another try would end alike."""
        cause = root_cause(result.failures)
        self._repeat_output(cause)
        if cause.exitcode > 0 and cause.exitcode not in _USEFUL_TO_REPEAT:
            self._remaining_restarts = 0
        elif self._remaining_restarts > 0:
            left = self._remaining_restarts
            self._tell(f"rank {self._rank(cause)} ended with {_ending(cause)}; all start anew ({left} more times)")

    def exit_code(self, result: RunResult) -> int:
        """Return the exit code of a run that has ended by itself.

        Raises: PeerLostError if it ended because processes were lost.
        """
        if not result.is_failed():
            return 0
        cause = root_cause(result.failures)
        if cause.exitcode > 0 and cause.exitcode != _LOST:
            return int(cause.exitcode)
        raise PeerLostError(
            f"rank {self._rank(cause)} ended with {_ending(cause)}; the run was started "
            f"{self._worker_group.spec.max_restarts + 1} times.",
            hint="its checkpoints are whole: go on with --resume",
        )

    def code_after(self, number: signal.Signals) -> int:
        """Return the exit code of a run that a signal has ended: rank 0's own, if it could save."""
        handlers = getattr(self._pcontext, "subprocess_handlers", {})
        code = handlers[0].proc.returncode if 0 in handlers else None
        return code if code is not None and code >= 0 else 128 + number

    def _rank(self, failure: ProcessFailure) -> int:
        return int(self._worker_group.workers[failure.local_rank].global_rank)

    def _repeat_output(self, failure: ProcessFailure) -> None:
        """Tell what a silent rank wrote before it failed; rank 0 has been heard."""
        if failure.local_rank == 0:
            return
        for path in sorted(self._outputs.glob(f"*/attempt_*/{failure.local_rank}/stderr.log"))[-1:]:
            for line in path.read_text("utf-8", errors="replace").splitlines()[-20:]:
                self._tell(f"[rank {self._rank(failure)}] {line}")


def root_cause(failures: Mapping[int, ProcessFailure]) -> ProcessFailure:
    """Return the failure that the others follow from: the first one that is not a rank missing another, or ended."""
    by_time = sorted(failures.values(), key=lambda failure: (failure.timestamp, failure.local_rank))
    return next((failure for failure in by_time if failure.exitcode not in _CONSEQUENCES), by_time[0])


def _ending(failure: ProcessFailure) -> str:
    if failure.exitcode >= 0:
        return f"exit code {failure.exitcode}"
    return signal.Signals(-failure.exitcode).name


def _silence_torchrun() -> None:
    """Leave the telling to us: it speaks of every signal, with file and line."""
    for name in list(logging.root.manager.loggerDict):
        if name.startswith("torch.distributed.elastic"):
            logging.getLogger(name).setLevel(logging.CRITICAL)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:  # it has ended meanwhile
        return


def _on_this_machine() -> RendezvousParameters:
    return RendezvousParameters(
        backend="c10d", endpoint="localhost:0", run_id=uuid4().hex, min_nodes=1, max_nodes=1, local_addr="127.0.0.1"
    )


@contextmanager
def _environment(directory: Path, num_processes: int) -> Iterator[None]:
    """Set what the processes inherit, while the block runs."""
    wanted = {
        _OWN_STORE: "1",
        LAUNCHER: str(os.getpid()),
        HEARTBEATS: str(directory / "heartbeats"),
        "OMP_NUM_THREADS": str(max(1, usable_cores() // num_processes)),
    }
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
