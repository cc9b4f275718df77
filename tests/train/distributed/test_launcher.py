import signal
from pathlib import Path

import pytest
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

from banyan.core.errors import PeerLostError
from banyan.train.distributed.launcher import root_cause


def failure(rank: int, code: int, *, at: int) -> ProcessFailure:
    found = ProcessFailure(local_rank=rank, pid=1, exitcode=code, error_file=str(Path("nowhere")))
    found.timestamp = at
    return found


@pytest.mark.parametrize(
    ("codes", "cause"),
    [
        ([PeerLostError.exit_code, 6], 1),  # rank 0 only missed the one whose disk is full
        ([-signal.SIGTERM, -signal.SIGKILL], 1),  # rank 0 was ended because rank 1 had died
        ([7, 6], 0),  # both for reasons of their own: the first
        ([-signal.SIGTERM, PeerLostError.exit_code], 0),
    ],
)
def test_the_cause_is_the_first_failure_that_does_not_follow_from_another(codes: list[int], cause: int) -> None:
    failures = {rank: failure(rank, code, at=rank) for rank, code in enumerate(codes)}
    assert root_cause(failures).local_rank == cause
