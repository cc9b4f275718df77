"""What a launcher told this process about its place among others, and that it must not outlive that launcher."""

from __future__ import annotations

import ctypes
import os
import signal
from dataclasses import dataclass
from pathlib import Path

RANK, LOCAL_RANK, WORLD_SIZE = "RANK", "LOCAL_RANK", "WORLD_SIZE"  # as torchrun names them
RESTART_COUNT = "TORCHELASTIC_RESTART_COUNT"
LAUNCHER, HEARTBEATS = "BANYAN_LAUNCHER", "BANYAN_HEARTBEATS"  # pid; folder of heartbeat files
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessPlace:
    """This process among those that run one job together."""

    rank: int = 0
    local_rank: int = 0  # on this machine
    world_size: int = 1
    restart_count: int = 0  # how often the job's processes were started anew
    launcher: int | None = None  # pid; None: not one of ours
    heartbeats: Path | None = None  # where to show that it goes on

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and speaks to the user."""
        return self.rank == 0


def process_place() -> ProcessPlace:
    """Return this process's place, as torchrun or `banyan train --nproc` has set it."""
    heartbeats, launcher = os.environ.get(HEARTBEATS), os.environ.get(LAUNCHER, "")
    return ProcessPlace(
        rank=int(os.environ.get(RANK, "0")),
        local_rank=int(os.environ.get(LOCAL_RANK, "0")),
        world_size=int(os.environ.get(WORLD_SIZE, "1")),
        restart_count=int(os.environ.get(RESTART_COUNT, "0")),
        launcher=int(launcher) if launcher.isdigit() else None,
        heartbeats=Path(heartbeats) if heartbeats else None,
    )


def end_with_launcher(place: ProcessPlace) -> None:
    """Have the system kill this process as soon as its launcher is gone, and end now if it is gone already.

    A process that nobody launched is left alone: whoever started it in a shell may leave. Linux only; elsewhere the
    ranks that are left end when they miss each other.
    """
    if place.world_size == 1 and place.launcher is None:
        return
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    except (AttributeError, OSError):
        return
    if os.getppid() == 1 or place.launcher not in (None, os.getppid()):
        os.kill(os.getpid(), signal.SIGKILL)


def usable_cores() -> int:
    """Return the processor cores that this process may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1
