"""A module as one other module sees it."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any


def module_with(module: ModuleType, **changes: Any) -> SimpleNamespace:
    """Return what stands for a module in one other module, with these things in place of its own.

    To set `os.fsync` itself would be to set it for every thread of the process, and the servers that tests share run in
    such threads.
    """
    return SimpleNamespace(**{**vars(module), **changes})
