"""A folder is opened only for the run that wrote it, and memory does not grow with the number of runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from banyan.serve.run_folders import RunFolders, folder_of
from banyan.testing.recorded_runs import add_losses


@pytest.mark.parametrize("content", [None, "[]", "{", '{"run_id": "other"}', " " * 9999])
def test_a_folder_that_does_not_say_it_belongs_to_the_run_is_not_opened(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    assert folder_of("mine", str(tmp_path)) is None
    assert folder_of("mine", "") is None
    (tmp_path / "run.json").write_text(json.dumps({"run_id": "mine"}))
    assert folder_of("mine", str(tmp_path)) == tmp_path


def test_losses_of_a_run_that_was_forgotten_are_read_again(tmp_path: Path) -> None:
    folders = RunFolders(max_remembered=1)
    for name, length in (("a", 3), ("b", 5)):
        (tmp_path / name).mkdir()
        add_losses(tmp_path / name, range(1, length))
    found = [len(folders.losses(name, tmp_path / name).steps) for name in ("a", "b", "a", "b")]
    assert found == [2, 4, 2, 4]
