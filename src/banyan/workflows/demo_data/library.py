"""Reading a Python library as text: its modules, and the documented functions and classes in them.

Nothing is imported and nothing is run; a file that cannot be read or parsed is left out.
"""

from __future__ import annotations

import ast
import inspect
import sysconfig
import tokenize
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypeAlias

from banyan.core.errors import DataError
from banyan.workflows.demo_data.areas import area_of
from banyan.workflows.demo_data.hashing import stable_hash

# Tests, editors, translation tables of code pages, and packages that are not part of the library.
_SKIPPED_FOLDERS = {
    *("test", "tests", "idlelib", "idle_test", "lib2to3", "turtledemo", "encodings", "pydoc_data"),
    *("site-packages", "dist-packages", "__pycache__", "__phello__", "lib-dynload", "_vendor", "_bundled"),
}
_MIN_MODULES = 20
_LARGEST_TABLE = 8_000  # characters; a longer module that defines nothing is a table of data

FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
DefinitionNode: TypeAlias = FunctionNode | ast.ClassDef


class DefinitionKind(StrEnum):
    """What a definition is, in the word the answers use."""

    FUNCTION = "function"
    METHOD = "method"
    CLASS = "class"


@dataclass(frozen=True, kw_only=True, slots=True)
class LibraryModule:
    """One source file."""

    name: str  # dotted, as it is imported
    text: str
    tree: ast.Module

    @property
    def area(self) -> str | None:
        """The area of the library it belongs to, if the table knows it."""
        return area_of(self.name)

    @property
    def docstring(self) -> str:
        """What the module says about itself; empty if nothing."""
        return ast.get_docstring(self.tree) or ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Definition:
    """One function, method or class that has a docstring."""

    module: LibraryModule
    owner: str | None  # the class of a method
    kind: DefinitionKind
    node: DefinitionNode
    docstring: str  # without the indentation it has in the file

    @property
    def name(self) -> str:
        """The bare name."""
        return self.node.name

    @property
    def local_name(self) -> str:
        """The name within the module, such as TextWrapper.wrap."""
        return f"{self.owner}.{self.name}" if self.owner else self.name

    @property
    def full_name(self) -> str:
        """The name with its module, such as textwrap.TextWrapper.wrap."""
        return f"{self.module.name}.{self.local_name}"

    @property
    def is_plain(self) -> bool:
        """Is it named for people to call, neither `_private` nor `__special__`?"""
        return not any(part.startswith("_") for part in self.local_name.split("."))

    @property
    def first_line(self) -> str:
        """The first line of the docstring."""
        return self.docstring.partition("\n")[0].strip()


def standard_library() -> Path:
    """Return the folder of the running Python's library, also from inside a virtual environment."""
    return Path(sysconfig.get_paths()["stdlib"])


def read_library(root: Path, *, max_modules: int | None = None, min_modules: int = _MIN_MODULES) -> list[LibraryModule]:
    """Read the modules below a folder, all or some that their hash chooses, in the order of their names.

    Raises: DataError if there are too few to learn from (a Python without its sources).
    """
    paths = [path for path in root.rglob("*.py") if not _is_skipped(path, root)]
    paths.sort(key=lambda path: stable_hash(path.relative_to(root).as_posix()))
    found = (_read_module(path, root) for path in paths[:max_modules])
    modules = sorted((module for module in found if module is not None), key=lambda module: module.name)
    if len(modules) < min_modules:
        raise DataError(
            f"{root} holds {len(modules)} readable Python modules; the demo needs at least {min_modules}.",
            hint="run it with a Python that has its library as .py files (not zipped, not stripped)",
        )
    return modules


def _is_skipped(path: Path, root: Path) -> bool:
    parts = path.relative_to(root).parts
    return bool(_SKIPPED_FOLDERS.intersection(parts[:-1])) or any(part.startswith("config-") for part in parts)


def _read_module(path: Path, root: Path) -> LibraryModule | None:
    parts = path.relative_to(root).with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
    try:
        with tokenize.open(path) as file:
            text = file.read()
        tree = parse_quietly(text)
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None
    has_definitions = any(isinstance(node, DefinitionNode) for node in tree.body)
    if not text.strip() or (len(text) > _LARGEST_TABLE and not has_definitions):
        return None
    return LibraryModule(name=name, text=text, tree=tree)


def parse_quietly(text: str) -> ast.Module:
    """Parse without the warnings that belong to the author of the text."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text)


def definitions_of(module: LibraryModule) -> list[Definition]:
    """Return the documented functions and classes of a module, and the documented methods of its classes."""
    return list(_definitions_in(module, module.tree.body, owner=None))


def _definitions_in(module: LibraryModule, body: list[ast.stmt], *, owner: str | None) -> Iterator[Definition]:
    for node in body:
        if not isinstance(node, DefinitionNode):
            continue
        docstring = _docstring_of(node)
        if docstring:
            kind = _kind_of(node, owner)
            yield Definition(module=module, owner=owner, kind=kind, node=node, docstring=docstring)
        if isinstance(node, ast.ClassDef):
            inner = f"{owner}.{node.name}" if owner else node.name
            yield from _definitions_in(module, node.body, owner=inner)


def _kind_of(node: DefinitionNode, owner: str | None) -> DefinitionKind:
    if isinstance(node, ast.ClassDef):
        return DefinitionKind.CLASS
    return DefinitionKind.METHOD if owner else DefinitionKind.FUNCTION


def _docstring_of(node: DefinitionNode) -> str:
    text = ast.get_docstring(node, clean=False) or ""
    return inspect.cleandoc(text).strip()
