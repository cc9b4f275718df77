import errno
import os
import resource
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from banyan.core.errors import SpaceError
from banyan.core.model_directory import verify_manifest
from banyan.model.transformer import Transformer
from banyan.testing.training import tiny_trainer
from banyan.train.callbacks import Callback, CheckpointRecord, EventRecord, StepRecord
from banyan.train.checkpoints import CheckpointFolder
from banyan.train.state import TransformerFiles, read_state

pytestmark = pytest.mark.usefixtures("light_runs")
EVERY_2 = {"checkpoint_every": 2, "background_saves": False}  # a callback fills the disk between a step and its save


@contextmanager
def files_of_at_most(num_bytes: int) -> Iterator[None]:
    """Let every longer write fail, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class FullDisk(Callback):
    """Fills the disk after one step and makes room after another."""

    def __init__(self, first: int, last: int) -> None:
        self.first, self.last = first, last
        self.events: list[str] = []
        self.saved: list[int] = []
        self._before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def on_step(self, record: StepRecord) -> None:
        if record.step == self.first:
            resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, self._before[1]))
        if record.step == self.last:
            self.close()

    def on_event(self, record: EventRecord) -> None:
        self.events.append(record.kind)

    def on_checkpoint(self, record: CheckpointRecord) -> None:
        self.saved.append(record.step)

    def close(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self._before)


def test_a_full_disk_is_survived_until_there_is_room_again(tmp_path: Path) -> None:
    disk = FullDisk(first=4, last=7)
    result = tiny_trainer(tmp_path, steps=10, train=EVERY_2, callbacks=[disk]).fit()
    assert disk.saved == [2, 8, 10]
    assert disk.events.count("checkpoint_failed") == 2
    assert result.steps == 10
    assert not list((tmp_path / "checkpoints").glob("*.tmp-*"))


def test_a_disk_that_stays_full_ends_the_run_and_the_checkpoint_of_before_still_loads(tmp_path: Path) -> None:
    with pytest.raises(SpaceError) as caught:
        tiny_trainer(tmp_path, steps=20, train=EVERY_2, callbacks=[FullDisk(first=3, last=99)]).fit()
    assert caught.value.exit_code == 6
    assert CheckpointFolder(tmp_path).steps() == [2]
    verify_manifest(tmp_path / "last")
    assert tiny_trainer(tmp_path, steps=20, train=EVERY_2).fit(resume=True).steps == 20


def test_the_last_save_of_a_run_must_succeed(tmp_path: Path) -> None:
    with pytest.raises(SpaceError), files_of_at_most(10_000):
        tiny_trainer(tmp_path, steps=1, train={"checkpoint_every": 9}).fit()


def test_a_best_checkpoint_that_could_not_be_saved_is_not_called_best(tmp_path: Path) -> None:
    def score(model: object, step: int) -> dict[str, float]:
        return {"score": {2: 0.1, 4: 0.9}.get(step, 0.5)}

    train = {**EVERY_2, "evaluate_every": 2}
    result = tiny_trainer(tmp_path, steps=8, train=train, evaluator=score, callbacks=[FullDisk(first=4, last=5)]).fit()
    assert (result.best_step, result.best_score) == (6, 0.5)
    assert (tmp_path / "best" / "model.safetensors").is_file()


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place]).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


class Ballast(Callback):
    """Leaves little room on a disk, once there is a checkpoint."""

    def __init__(self, disk: Path, *, free_bytes: int) -> None:
        self.path, self.free_bytes = disk / "ballast", free_bytes

    def on_checkpoint(self, record: CheckpointRecord) -> None:
        if not self.path.exists():
            free = shutil.disk_usage(self.path.parent).free
            self.path.write_bytes(bytes(max(0, free - self.free_bytes)))


def test_on_a_disk_with_room_for_one_checkpoint_the_first_one_stays_whole(tiny_disk: Path) -> None:
    ballast = Ballast(tiny_disk, free_bytes=100_000)
    with pytest.raises(SpaceError, match="the disk is full"):
        tiny_trainer(tiny_disk / "run", steps=20, train=EVERY_2, callbacks=[ballast]).fit()
    folder = CheckpointFolder(tiny_disk / "run")
    assert folder.newest_valid() == (2, [])
    with pytest.raises(SpaceError, match=r"need .* KB in .*, 1?\d\d\.\d KB free"):
        tiny_trainer(tiny_disk / "run", steps=20, train=EVERY_2).fit(resume=True)
    ballast.path.unlink()
    result = tiny_trainer(tiny_disk / "run", steps=20, train={**EVERY_2, "keep_checkpoints": 1}).fit(resume=True)
    assert result.steps == 20


def test_a_run_without_room_for_two_checkpoints_does_not_begin(tiny_disk: Path) -> None:
    (tiny_disk / "ballast").write_bytes(bytes(400_000))
    with pytest.raises(SpaceError, match="need 844.2 KB") as caught:
        tiny_trainer(tiny_disk / "run").fit()
    assert caught.value.exit_code == 6
    assert not (tiny_disk / "run/metrics.jsonl").exists()


class OnStep(Callback):
    """Does something after one step."""

    def __init__(self, step: int, action: Callable[[], None]) -> None:
        self.step, self.action = step, action

    def on_step(self, record: StepRecord) -> None:
        if record.step == self.step:
            self.action()


def test_a_save_in_the_background_holds_what_was_there_when_it_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    three_steps_later = threading.Event()

    def save_late(files: TransformerFiles, model: Transformer, directory: Path) -> None:
        assert three_steps_later.wait(60)
        save(files, model, directory)

    save = TransformerFiles.save
    tiny_trainer(tmp_path / "plain", steps=8, train={"checkpoint_every": 4, "background_saves": False}).fit()
    monkeypatch.setattr(TransformerFiles, "save", save_late)
    watch = [OnStep(7, three_steps_later.set)]
    tiny_trainer(tmp_path / "late", steps=8, train={"checkpoint_every": 4}, callbacks=watch).fit()
    saved = [tmp_path / name / "checkpoints/step-00000004" for name in ("late", "plain")]
    for file in ("model.safetensors", "extras.safetensors", "optimizer.safetensors"):
        assert (saved[0] / file).read_bytes() == (saved[1] / file).read_bytes()
    progress = [read_state(path / "state.json").progress for path in saved]
    assert (progress[0].step, progress[0].num_tokens) == (progress[1].step, progress[1].num_tokens)


def test_a_save_in_the_background_that_fails_is_told_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = iter([True, True])

    def save_at_the_third_try(files: TransformerFiles, model: Transformer, directory: Path) -> None:
        if next(failures, False):
            raise OSError(errno.ENOSPC, "No space left on device")
        save(files, model, directory)

    save = TransformerFiles.save
    monkeypatch.setattr(TransformerFiles, "save", save_at_the_third_try)
    heard = FullDisk(first=99, last=99)
    result = tiny_trainer(tmp_path, steps=10, train={"checkpoint_every": 2}, callbacks=[heard]).fit()
    assert heard.events.count("checkpoint_failed") == 2
    assert (heard.saved, result.steps) == ([6, 8, 10], 10)


def test_a_crash_between_save_and_link_is_put_right_on_resume(tmp_path: Path) -> None:
    tiny_trainer(tmp_path, steps=4, train=EVERY_2).fit()
    for name in ("best", "last"):
        (tmp_path / name).unlink()
    tiny_trainer(tmp_path, steps=4, train=EVERY_2).fit(resume=True)
    assert os.readlink(tmp_path / "last") == os.readlink(tmp_path / "best") == "checkpoints/step-00000004"
