"""What a proof has found, in one file beside its page, so that it may grow over several machines.

Runs themselves stay where they were made. The result of a long one is known by its name, which ends with a few digits
of what was asked: "digits-scores-1a2b3c4d". A question that has changed replaces its earlier form.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from banyan.core.files import atomic_write_text


def read_record(path: Path) -> dict[str, Any]:
    """Return what is recorded, by name; empty before anything is."""
    return dict(json.loads(path.read_text("utf-8"))) if path.is_file() else {}


def add_to_record(path: Path, results: Mapping[str, Any]) -> None:
    """Record results, one line each, in place of those of the same name that were asked otherwise."""
    replaced = {_without_digits(name) for name in results}
    kept = {name: found for name, found in read_record(path).items() if _without_digits(name) not in replaced}
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write_text(path, one_a_line(dict(sorted({**kept, **results}.items()))) + "\n")


def _without_digits(name: str) -> str:
    return name.rpartition("-")[0]


def one_a_line(mapping: Mapping[str, Any], *, depth: int = 1) -> str:
    """Return JSON in which every entry has a line, so that a change shows what was added; `depth` levels of it."""
    if not depth:
        return json.dumps(mapping, ensure_ascii=False)
    lines = (
        f"{json.dumps(name, ensure_ascii=False)}: {one_a_line(own, depth=depth - 1)}" for name, own in mapping.items()
    )
    return "{\n" + ",\n".join(lines) + "\n}"
