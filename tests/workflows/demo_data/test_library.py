from __future__ import annotations

from pathlib import Path

import pytest

from banyan.core.errors import DataError
from banyan.workflows.demo_data.library import (
    DefinitionKind,
    LibraryModule,
    definitions_of,
    parse_quietly,
    read_library,
)


def _module(text: str) -> LibraryModule:
    return LibraryModule(name="json.tool", text=text, tree=parse_quietly(text))


def test_modules_are_named_as_they_are_imported(tmp_path: Path) -> None:
    for name in ("json/__init__.py", "json/decoder.py", "csv.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x = 1\n")
    assert [module.name for module in read_library(tmp_path, min_modules=1)] == ["csv", "json", "json.decoder"]


def test_tests_tables_and_unreadable_files_are_left_out(tmp_path: Path) -> None:
    contents = {
        "good.py": b"x = 1\n",
        "latin.py": "# -*- coding: latin-1 -*-\nx = 'é'\n".encode("latin-1"),
        "test/test_it.py": b"x = 1\n",
        "site-packages/other.py": b"x = 1\n",
        "broken.py": b"def :\n",
        "bytes.py": b"x = '\xff'\n",
        "nul.py": b"x = 1\0\n",
        "empty.py": b"\n",
        "table.py": b"x = [\n" + b"  1234,\n" * 2_000 + b"]\n",
    }
    for name, data in contents.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    (tmp_path / "gone.py").symlink_to(tmp_path / "nowhere.py")
    assert [module.name for module in read_library(tmp_path, min_modules=1)] == ["good", "latin"]


def test_reading_never_runs_what_it_reads(tmp_path: Path) -> None:
    (tmp_path / "trap.py").write_text(f"open({str(tmp_path / 'sprung')!r}, 'w')\nraise SystemExit\n")
    assert len(read_library(tmp_path, min_modules=1)) == 1
    assert not (tmp_path / "sprung").exists()


def test_the_same_modules_are_chosen_whatever_else_is_asked(library: Path) -> None:
    few = {module.name for module in read_library(library, max_modules=20)}
    more = {module.name for module in read_library(library, max_modules=30)}
    assert few < more


def test_a_python_without_its_sources_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds 0 readable Python modules"):
        read_library(tmp_path)


def test_documented_functions_methods_and_classes_are_found_under_their_names() -> None:
    text = '''
def plain():
    """  Do it.

    Twice.
    """
def silent(): pass
class Outer:
    "A class."
    async def method(self): "A method."
    class Inner:
        def deep(self): "Deep."
'''
    found = {definition.full_name: definition for definition in definitions_of(_module(text))}
    assert {name: definition.kind for name, definition in found.items()} == {
        "json.tool.plain": DefinitionKind.FUNCTION,
        "json.tool.Outer": DefinitionKind.CLASS,
        "json.tool.Outer.method": DefinitionKind.METHOD,
        "json.tool.Outer.Inner.deep": DefinitionKind.METHOD,
    }
    assert found["json.tool.plain"].docstring == "Do it.\n\nTwice."
    assert found["json.tool.plain"].first_line == "Do it."


def test_private_and_special_names_are_not_plain() -> None:
    text = "class _A:\n  def b(self): 'x'\nclass C:\n  def __init__(self): 'x'\n  def d(self): 'x'\n"
    plain = [definition.local_name for definition in definitions_of(_module(text)) if definition.is_plain]
    assert plain == ["C.d"]
