from pathlib import Path

import pytest

from banyan.core.process import ProcessPlace, end_with_launcher, process_place, usable_cores


@pytest.fixture(autouse=True)
def _nobody_launched_this(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "TORCHELASTIC_RESTART_COUNT", "BANYAN_LAUNCHER"):
        monkeypatch.delenv(name, raising=False)


def test_a_process_that_nobody_launched_is_the_only_one() -> None:
    assert process_place() == ProcessPlace() and process_place().is_main


def test_a_rank_is_told_its_place_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"RANK": "5", "LOCAL_RANK": "1", "WORLD_SIZE": "8", "TORCHELASTIC_RESTART_COUNT": "2"}
    for name, value in {**told, "BANYAN_LAUNCHER": "77", "BANYAN_HEARTBEATS": "/beats"}.items():
        monkeypatch.setenv(name, value)
    place = process_place()
    assert place == ProcessPlace(
        rank=5, local_rank=1, world_size=8, restart_count=2, launcher=77, heartbeats=Path("/beats")
    )
    assert not place.is_main


def test_a_process_that_nobody_launched_is_left_alone() -> None:
    end_with_launcher(ProcessPlace())


def test_there_is_a_core_to_run_on() -> None:
    assert usable_cores() >= 1
