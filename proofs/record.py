"""What a proof of few long runs has found, in one file beside its page, so that it may grow over several machines.

The runs themselves stay where they were made; a result is known by its name, which ends with a few digits of what was
asked: "digits-scores-1a2b3c4d". A question that has changed replaces its earlier form.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def read_record(path: Path) -> dict[str, Any]:
    """Return what is recorded, by name; empty before anything is."""
    return dict(json.loads(path.read_text("utf-8"))) if path.is_file() else {}


def add_to_record(path: Path, results: Mapping[str, Any]) -> None:
    """Record results, one line each, in place of those of the same name that were asked otherwise."""
    replaced = {_without_digits(name) for name in results}
    kept = {name: found for name, found in read_record(path).items() if _without_digits(name) not in replaced}
    lines = (f" {_as_json(name)}: {_as_json(found)}" for name, found in sorted({**kept, **results}.items()))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")


def _without_digits(name: str) -> str:
    return name.rpartition("-")[0]


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
