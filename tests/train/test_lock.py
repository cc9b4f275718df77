import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from banyan.core.errors import BusyError, SpaceError
from banyan.train.lock import run_lock


def test_a_run_is_held_by_one_trainer_which_is_named(tmp_path: Path) -> None:
    refused = pytest.raises(BusyError, match=f"locked by pid {os.getpid()}")
    with run_lock(tmp_path / "run"), refused as caught, run_lock(tmp_path / "run"):
        pass
    assert caught.value.exit_code == 8


def test_a_run_is_free_again_afterwards(tmp_path: Path) -> None:
    for _ in range(2):
        with run_lock(tmp_path):
            pass


def _hold(directory: Path) -> None:
    with run_lock(directory):
        time.sleep(60)


def test_a_killed_trainer_holds_nothing(tmp_path: Path) -> None:
    holder = multiprocessing.get_context("spawn").Process(target=_hold, args=(tmp_path,))
    holder.start()
    assert holder.pid is not None
    deadline = time.monotonic() + 30
    while not (tmp_path / ".lock").is_file() or not (tmp_path / ".lock").read_text().strip():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    with pytest.raises(BusyError, match=f"pid {holder.pid}"), run_lock(tmp_path):
        pass
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    with run_lock(tmp_path):
        pass


def test_a_place_that_cannot_be_written_is_refused_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpaceError, match="cannot write"), run_lock(tmp_path / "file" / "run"):
        pass
