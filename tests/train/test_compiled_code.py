"""Libraries that a killed compiler left behind, against one that this Python itself has loaded."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
import tokenizers

from banyan.train.compiled_code import remove_broken_libraries

WHOLE = next(Path(tokenizers.__file__).parent.glob("*.so"), None)
needs_library = pytest.mark.skipif(WHOLE is None, reason="libraries have another ending here")


def library(folder: Path, name: str, *, num_bytes: int | None = None, age: float = 3600) -> Path:
    folder.mkdir(exist_ok=True)
    assert WHOLE is not None
    path = Path(shutil.copyfile(WHOLE, folder / name))
    if num_bytes is not None:
        os.truncate(path, num_bytes)
    os.utime(path, (time.time() - age,) * 2)
    return path


@needs_library
def test_libraries_that_were_cut_short_are_removed_and_whole_ones_stay(tmp_path: Path) -> None:
    assert WHOLE is not None
    whole = library(tmp_path / "aa", "whole.so")
    cut = [library(tmp_path / "bb", f"{n}.so", num_bytes=n) for n in (0, 40, 5000, WHOLE.stat().st_size - 1)]
    assert remove_broken_libraries(tmp_path) == len(cut)
    assert whole.is_file() and not any(path.exists() for path in cut)


@needs_library
def test_what_may_still_be_being_written_stays(tmp_path: Path) -> None:
    young = library(tmp_path, "young.so", num_bytes=0, age=0)
    assert remove_broken_libraries(tmp_path) == 0 and young.is_file()


def test_a_library_of_another_system_stays_unless_it_is_empty(tmp_path: Path) -> None:
    for name, content in (("mach.so", b"\xcf\xfa\xed\xfe" + bytes(100)), ("empty.so", b"")):
        (tmp_path / name).write_bytes(content)
        os.utime(tmp_path / name, (0, 0))
    assert remove_broken_libraries(tmp_path) == 1 and (tmp_path / "mach.so").is_file()


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert remove_broken_libraries(tmp_path / "none") == 0
