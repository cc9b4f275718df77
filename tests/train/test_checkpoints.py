import os
from pathlib import Path

import pytest

from banyan.core.errors import CheckpointError
from banyan.train.checkpoints import CheckpointFolder


def folder_with(run: Path, *steps: int) -> CheckpointFolder:
    folder = CheckpointFolder(run)
    for step in steps:
        with folder.new(step) as directory:
            (directory / "weights").write_bytes(b"w" * 100 + bytes([step % 256]))
    return folder


def always(step: int) -> bool:
    return True


def damage(folder: CheckpointFolder, step: int) -> None:
    path = folder.path(step) / "weights"
    path.write_bytes(path.read_bytes()[:-1] + b"!")


def test_a_checkpoint_is_seen_only_when_complete(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    with folder.new(7) as directory:
        (directory / "weights").write_bytes(b"w")
        assert folder.steps() == []
        assert directory.name == f"step-00000007.tmp-{os.getpid()}"
    assert folder.steps() == [7]
    assert folder.newest_valid() == (7, [])


def test_a_save_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, 1)
    with pytest.raises(KeyError), folder.new(2) as directory:
        (directory / "weights").write_bytes(b"w")
        raise KeyError
    assert [path.name for path in folder.directory.iterdir()] == ["step-00000001"]


def test_the_newest_is_the_one_with_the_highest_step_whatever_the_clock_says(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, 20, 100, 9)
    os.utime(folder.path(20), (2e9, 2e9))
    assert folder.steps() == [9, 20, 100]
    assert folder.newest_valid()[0] == 100


@pytest.mark.parametrize("how", ["flipped", "truncated", "missing file", "missing manifest", "extra file"])
def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_is_taken(tmp_path: Path, how: str) -> None:
    folder = folder_with(tmp_path, 1, 2)
    path = folder.path(2)
    if how == "flipped":
        damage(folder, 2)
    elif how == "truncated":
        (path / "weights").write_bytes(b"w")
    elif how == "missing file":
        (path / "weights").unlink()
    elif how == "missing manifest":
        (path / "manifest.json").unlink()
    else:
        (path / "other").write_bytes(b"")
    step, quarantined = folder.newest_valid()
    assert step == 1
    assert [item.path.name for item in quarantined] == ["step-00000002.corrupt"]
    assert quarantined[0].path.is_dir()
    assert folder.newest_valid() == (1, [])


def test_damage_twice_in_the_same_step_is_kept_apart(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, 1, 2)
    damage(folder, 2)
    folder.newest_valid()
    folder_with(tmp_path, 2)
    damage(folder, 2)
    assert folder.newest_valid()[1][0].path.name == "step-00000002.corrupt-2"


def test_a_run_whose_checkpoints_are_all_damaged_never_starts_anew(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, 1, 2)
    damage(folder, 1)
    damage(folder, 2)
    each_and_why = "step-00000001.corrupt: .* sha256 mismatch.* step-00000002.corrupt: .* sha256 mismatch"
    with pytest.raises(CheckpointError, match=each_and_why) as caught:
        folder.newest_valid()
    assert caught.value.exit_code == 4
    with pytest.raises(CheckpointError, match=each_and_why):  # asked again, it still knows
        folder.newest_valid()


def test_a_run_that_never_saved_has_nothing_to_go_on_from(tmp_path: Path) -> None:
    assert CheckpointFolder(tmp_path).newest_valid() == (None, [])


def test_leftovers_of_killed_saves_are_removed_and_nothing_else(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, 1)
    for name in ("step-00000002.tmp-77", "step-00000001.old-77", "step-00000000.purged"):
        (folder.directory / name).mkdir()
    (folder.directory / "mine").mkdir()
    folder.clean()
    assert sorted(path.name for path in folder.directory.iterdir()) == ["mine", "step-00000001"]


def test_links_are_relative_and_can_be_moved(tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "run", 1, 2)
    folder.link("best", 1)
    folder.link("best", 2)
    assert os.readlink(tmp_path / "run" / "best") == "checkpoints/step-00000002"
    (tmp_path / "run").rename(tmp_path / "moved")
    assert (tmp_path / "moved" / "best" / "weights").is_file()


def test_a_purge_keeps_the_newest_and_the_protected(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, 1, 2, 3, 4)
    folder.purge(keep=2, is_regular=always, protect=1)
    assert folder.steps() == [1, 3, 4]
    assert len(list(folder.directory.iterdir())) == 3


def test_a_purge_keeps_as_many_regular_ones_whatever_was_saved_between_them(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, 10, 20, 25, 30, 33)
    folder.purge(keep=2, is_regular=lambda step: step % 10 == 0, protect=None)
    assert folder.steps() == [20, 30, 33]


def test_a_checkpoint_the_run_went_back_from_is_out_of_sight_until_the_run_comes_by_again(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, 1, 4)
    folder.hide(4)
    assert folder.steps() == [1] and folder.newest_valid() == (1, [])
    folder_with(tmp_path, 3)
    folder.purge(keep=9, is_regular=always, protect=None)
    assert (folder.directory / "step-00000004.abandoned").is_dir()
    folder_with(tmp_path, 5)
    folder.purge(keep=9, is_regular=always, protect=None)
    assert not (folder.directory / "step-00000004.abandoned").exists()
