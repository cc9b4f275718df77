"""A plugin for pytest that counts the assertions that held; it needs `-o enable_assertion_pass_hook=true`."""

from __future__ import annotations

from collections import Counter
from typing import Any

_held: Counter[str] = Counter()


def pytest_assertion_pass(item: Any) -> None:
    """Count one."""
    _held[item.nodeid] += 1


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say how many there were."""
    terminalreporter.write_line(f"{_held.total()} assertions held")
