"""A folder has one writer at a time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from banyan.core.errors import BusyError, SpaceError
from banyan.core.locks import hold_directory

_TRY = "import sys; from pathlib import Path; from banyan.core.locks import hold_directory\n"
_TRY += "with hold_directory(Path(sys.argv[1])): pass"


def test_a_held_folder_is_refused_to_another_process_and_free_again_afterwards(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _TRY, str(tmp_path)]
    with hold_directory(tmp_path):
        refused = subprocess.run(command, capture_output=True, text=True)
    assert refused.returncode == 1
    assert f"BusyError: {tmp_path} is locked by pid {os.getpid()};" in refused.stderr
    assert subprocess.run(command).returncode == 0


def test_a_second_hold_in_the_same_process_is_refused(tmp_path: Path) -> None:
    with (
        hold_directory(tmp_path / "new"),
        pytest.raises(BusyError, match="locked by pid"),
        hold_directory(tmp_path / "new"),
    ):
        pass


_HOLD = "import sys, time; from pathlib import Path; from banyan.core.locks import hold_directory\n"
_HOLD += "with hold_directory(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", _HOLD, tmp_path], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(BusyError, match=f"pid {holder.pid}"), hold_directory(tmp_path):
            pass
        holder.kill()
    with hold_directory(tmp_path):
        pass


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpaceError, match="cannot write"), hold_directory(tmp_path / "file" / "run"):
        pass
