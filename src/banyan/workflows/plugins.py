"""Kinds of task from a user's own file: named on the command line, never by a recipe or a model.

A plug-in is Python, and runs with all the rights of whoever starts the command. So a recipe or a model directory, which
may come from anywhere, can ask for a kind of task but cannot bring one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from banyan.core.errors import BanyanError, ConfigError, FileError

_PREFIX = "banyan_plugin_"


def load_plugins(paths: Sequence[Path | str]) -> None:
    """Import each file and call its `register()`, which adds kinds to `TASK_KINDS`; a file that is known is left alone.

    >>> load_plugins(["my_kind.py"])

    Raises: FileError if there is no such file; ConfigError if it cannot be imported, or adds a kind that there is.
    """
    for path in paths:
        _load(Path(path).resolve())


def _load(path: Path) -> None:
    name = _PREFIX + path.stem
    if not path.is_file():
        raise FileError(f"plug-in {path} not found.", hint="name a Python file: --plugin my_kind.py")
    if name in sys.modules:
        _check_same(sys.modules[name], path)
        return
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"plug-in {path} is not a Python file; its name must end in .py.")
    module = module_from_spec(spec)
    sys.modules[name] = module  # its classes look themselves up there
    try:
        spec.loader.exec_module(module)
        _registration(module, path)()
    except BanyanError:
        del sys.modules[name]
        raise
    except Exception as error:
        del sys.modules[name]
        raise ConfigError(f"plug-in {path} cannot be loaded: {type(error).__name__}: {error}") from error


def _check_same(module: ModuleType, path: Path) -> None:
    if module.__file__ != str(path):
        raise ConfigError(
            f"two plug-ins are called {path.stem}: {module.__file__} and {path}.", hint="give one file another name"
        )


def _registration(module: ModuleType, path: Path) -> Callable[[], object]:
    register: Callable[[], object] | None = getattr(module, "register", None)
    if not callable(register):
        raise ConfigError(
            f"plug-in {path} has no function register().",
            hint='def register() -> None: TASK_KINDS.add("my_kind", MyKind)',
        )
    return register
