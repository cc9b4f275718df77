"""A clock for one module alone."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

from banyan.testing.own_modules import module_with


def clock_with(**functions: Any) -> SimpleNamespace:
    """Return what stands for the module `time` in one other module, with these functions in place of its own.

    To set `time.monotonic` itself would be to set it for every thread of the process, and the servers that tests share
    run in such threads: their event loops ask it too.
    """
    return module_with(time, **functions)
