import os
import subprocess
import sys
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


HOLD = """
import sys, time
from pathlib import Path
from banyan.train.lock import run_lock
with run_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_killed_trainer_holds_nothing(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(BusyError, match=f"pid {holder.pid}"), run_lock(tmp_path):
            pass
        holder.kill()
    with run_lock(tmp_path):
        pass


def test_a_place_that_cannot_be_written_is_refused_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpaceError, match="cannot write"), run_lock(tmp_path / "file" / "run"):
        pass
