"""`banyan train --nproc N`: the same training by several processes of this machine."""

from __future__ import annotations

from collections.abc import Sequence

from banyan.train.distributed.launcher import launch
from banyan.workflows.reporter import Reporter


def launch_training(words: Sequence[str], *, num_processes: int, max_restarts: int, reporter: Reporter) -> int:
    """Run `banyan WORDS…` in several processes, started anew when one is lost, and return the exit code.

    Raises: PeerLostError if processes are lost more often than `max_restarts`.
    """
    return launch(words, num_processes=num_processes, max_restarts=max_restarts, tell=reporter.line)
