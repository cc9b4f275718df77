import errno
import os
import subprocess
from pathlib import Path

import pytest

from banyan.core import files
from banyan.core.errors import FileError, SpaceError
from banyan.core.files import (
    as_write_error,
    atomic_directory,
    atomic_write_bytes,
    atomic_write_text,
    check_room,
    read_bytes,
    read_json,
    read_text,
    shown_bytes,
)
from banyan.testing.own_modules import module_with


def test_a_failed_write_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    atomic_write_text(path, "old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "os", module_with(os, fsync=full))
    with pytest.raises(SpaceError, match="disk is full"):
        atomic_write_text(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_really_full_disk_gives_one_line_and_keeps_the_old_file(tmp_path: Path) -> None:
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)], capture_output=True)
    if mounted.returncode:
        pytest.skip("this machine does not allow mounting a tmpfs")
    try:
        atomic_write_text(tmp_path / "a.txt", "old")
        with pytest.raises(SpaceError, match="disk is full"):
            atomic_write_text(tmp_path / "a.txt", "x" * 200_000)
        assert (tmp_path / "a.txt").read_text() == "old"
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_directory_appears_only_when_it_is_complete(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), atomic_directory(tmp_path / "model") as temporary:
        (temporary / "half").write_text("x")
        raise RuntimeError("stopped")
    assert list(tmp_path.iterdir()) == []
    for text in ("one", "two"):
        with atomic_directory(tmp_path / "model") as temporary:
            (temporary / "file").write_text(text)
    assert (tmp_path / "model" / "file").read_text() == "two"
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize(
    ("content", "match"), [(None, "not found"), (b"ab\xff\xfe", "not UTF-8 at byte 2"), (b"{", "not valid JSON")]
)
def test_an_unreadable_file_says_what_is_wrong(tmp_path: Path, content: bytes | None, match: str) -> None:
    path = tmp_path / "f.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FileError, match=match):
        read_json(path)


def test_a_directory_in_place_of_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="is a directory"):
        read_text(tmp_path)


def test_a_byte_order_mark_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "bom.txt").write_bytes(b"\xef\xbb\xbfhello")
    assert read_text(tmp_path / "bom.txt") == "hello"


def test_a_refused_write_names_the_reason(tmp_path: Path) -> None:
    error = as_write_error(OSError(errno.EACCES, "Permission denied"), tmp_path)
    assert isinstance(error, SpaceError) and "Permission denied" in str(error)


@pytest.mark.parametrize("place", [".", "..", "folder"])
def test_a_directory_is_not_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpaceError, match="it is a directory"):
        atomic_write_bytes(Path(place), b"x")


def test_a_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileError, match="is a pipe"):
        read_bytes(tmp_path / "pipe")


def test_a_folder_without_the_room_that_is_needed_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    check_room(tmp_path, num_bytes=1)
    with pytest.raises(SpaceError, match=r"need 1000000000\.0 GB in .*, .* GB free"):
        check_room(tmp_path, num_bytes=10**18)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("num_bytes", "shown"), [(0, "0 bytes"), (999, "999 bytes"), (2_400_000_000, "2.4 GB"), (5e12, "5000.0 GB")]
)
def test_a_size_is_shown_as_a_person_reads_it(num_bytes: float, shown: str) -> None:
    assert shown_bytes(num_bytes) == shown
