import json
import math
import threading
import time
from pathlib import Path

import pytest

from banyan.testing.clock import clock_with
from banyan.train.distributed import heartbeat as heartbeat_module
from banyan.train.distributed.heartbeat import GRACE_SECONDS, STUCK_SECONDS, Heartbeat, silent_ranks


def write_beat(folder: Path, *, rank: int, seconds_ago: float, limit_seconds: float = GRACE_SECONDS) -> None:
    content = {"pid": 1000 + rank, "seen_at": time.monotonic() - seconds_ago, "limit_seconds": limit_seconds}
    (folder / f"rank-{rank}.json").write_text(json.dumps(content), "utf-8")


def test_a_process_that_has_just_begun_is_not_silent_and_one_that_is_stuck_stops_showing_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat_module, "_PULSE_SECONDS", 0.001)
    before = set(threading.enumerate())
    heartbeat = Heartbeat(tmp_path, rank=3)
    assert (tmp_path / "rank-3.json").is_file() and silent_ranks(tmp_path) == []
    [pulse] = set(threading.enumerate()) - before
    heartbeat._step_began = -math.inf
    pulse.join(30)
    assert not pulse.is_alive()  # it would take ticks of the clocks that other tests give this module


def test_a_process_is_silent_once_its_own_limit_has_passed(tmp_path: Path) -> None:
    write_beat(tmp_path, rank=0, seconds_ago=40, limit_seconds=60)
    write_beat(tmp_path, rank=1, seconds_ago=40)
    (found,) = silent_ranks(tmp_path)
    assert (found.rank, found.pid) == (1, 1001) and found.seconds >= 40


def test_slow_steps_allow_for_a_longer_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([float(10 * tick) for tick in range(100)])
    heartbeat = Heartbeat(None, rank=0)
    monkeypatch.setattr(heartbeat_module, "time", clock_with(monotonic=lambda: next(clock)))
    for _ in range(3):
        with heartbeat.step():
            pass
    path = tmp_path / "rank-0.json"
    heartbeat._touch(path)
    assert json.loads(path.read_text("utf-8"))["limit_seconds"] == GRACE_SECONDS + 3 * 10


def test_a_step_that_takes_far_too_long_is_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    heartbeat = Heartbeat(None, rank=0)
    began = time.monotonic()
    with heartbeat.step():
        assert not heartbeat.is_stuck
        monkeypatch.setattr(heartbeat_module, "time", clock_with(monotonic=lambda: began + STUCK_SECONDS + 1))
        assert heartbeat.is_stuck
    assert not heartbeat.is_stuck
