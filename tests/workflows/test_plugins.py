"""A plug-in is loaded once, from a file that says what it adds; whatever is wrong with it is one error."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from banyan.core.errors import BanyanError, ConfigError, FileError
from banyan.core.paths import add_plugin_files, plugin_files
from banyan.tasks.registry import TASK_KINDS
from banyan.workflows.plugins import load_plugins

GOOD = """
from banyan.tasks.classification import Classification
from banyan.tasks.registry import TASK_KINDS
def register() -> None:
    TASK_KINDS.add("own_kind", Classification)
"""


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(TASK_KINDS, "_entries", dict(TASK_KINDS._entries))
    yield
    for name in [name for name in sys.modules if name.startswith("banyan_plugin_")]:
        del sys.modules[name]


def test_a_file_adds_its_kind_once_however_often_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(GOOD)
    load_plugins([tmp_path / "own.py", str(tmp_path / "." / "own.py")])
    load_plugins([tmp_path / "own.py"])
    assert TASK_KINDS["own_kind"].kind == "classification"


@pytest.mark.parametrize(
    ("name", "text", "kind", "problem"),
    [
        ("none.py", None, FileError, "not found"),
        ("text.txt", GOOD, ConfigError, "must end in .py"),
        ("wrong.py", "1 / 0", ConfigError, "ZeroDivisionError"),
        ("silent.py", "x = 1", ConfigError, "has no function register"),
        ("twice.py", GOOD.replace("own_kind", "tagging"), ConfigError, "registered twice"),
        ("refuses.py", "from banyan.core.errors import DataError\nraise DataError('no')", BanyanError, "no"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_and_leaves_nothing_behind(
    tmp_path: Path, name: str, text: str | None, kind: type[Exception], problem: str
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(kind, match=problem):
        load_plugins([tmp_path / name])
    assert not any(name.startswith("banyan_plugin_") for name in sys.modules)


def test_two_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "own.py").write_text(GOOD)
    load_plugins([tmp_path / "a" / "own.py"])
    with pytest.raises(ConfigError, match="two plug-ins are called own"):
        load_plugins([tmp_path / "b" / "own.py"])


def test_the_environment_holds_the_files_for_processes_that_are_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BANYAN_PLUGINS", "")
    assert plugin_files() == []
    add_plugin_files(["own.py", "/other.py"])
    add_plugin_files(["own.py"])
    assert plugin_files() == [Path("own.py").absolute(), Path("/other.py")]
