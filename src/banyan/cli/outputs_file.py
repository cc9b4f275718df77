"""Writes exported rows to a file, complete or not at all, with their pictures, origins and hashes beside it.

`more.jsonl` comes with `more.manifest.json` (hashes, counts, what was asked for), and as a data set with
`more.lineage.jsonl` (where every row came from).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from hashlib import file_digest
from pathlib import Path
from typing import Any, TextIO

from banyan.core.errors import ConfigError
from banyan.core.files import as_write_error, atomic_write_bytes, fsync_directory
from banyan.store.export import artifact_file_name
from banyan.store.lineage import lineage_of
from banyan.store.types import StoredExchange


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportedRow:
    """One line of an export, and where it came from."""

    row: Mapping[str, Any]
    exchange: StoredExchange
    choice_index: int | None = None  # the answer it was made of; None: all of them


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """How much an export wrote."""

    num_rows: int
    num_images: int


@dataclass(slots=True)
class _Written:
    """Counts while rows are written."""

    num_rows: int = 0
    files: set[str] = field(default_factory=set)

    def done(self) -> Written:
        return Written(num_rows=self.num_rows, num_images=sum(name.startswith("images/") for name in self.files))


def write_rows(
    path: Path,
    exported: Iterable[ExportedRow],
    *,
    facts: Mapping[str, Any],
    with_lineage: bool = False,
) -> Written:
    """Write one JSON line for each row, every picture that belongs to it, and `facts` into the manifest.

    Raises: ConfigError if a file exists already; SpaceError if one cannot be written.
    """
    names = [path, _beside(path, "manifest.json"), *([_beside(path, "lineage.jsonl")] if with_lineage else [])]
    for name in names:
        if name.exists():
            raise ConfigError(f"{name} exists already; an export never replaces a file.", hint="choose another name")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        written = _write_all(path, exported, with_lineage=with_lineage, facts=facts)
        fsync_directory(path.parent)
    except OSError as error:
        raise as_write_error(error, path) from error
    finally:
        for name in names:
            with suppress(OSError):
                _temporary(name).unlink(missing_ok=True)
    return written


def _write_all(path: Path, exported: Iterable[ExportedRow], *, with_lineage: bool, facts: Mapping[str, Any]) -> Written:
    """Write everything under other names first; the rows take theirs last, when all that explains them is there."""
    lineage = _beside(path, "lineage.jsonl") if with_lineage else None
    counts = _Written()
    with _temporary(path).open("x", encoding="utf-8", errors="backslashreplace") as rows:
        if lineage is None:
            _write_lines(rows, None, path.parent, exported, counts)
        else:
            with _temporary(lineage).open("x", encoding="utf-8") as origins:
                _write_lines(rows, origins, path.parent, exported, counts)
    hashes = {name.name: _sha256(_temporary(name)) for name in (path, lineage) if name is not None}
    manifest = {**facts, **asdict(counts.done()), "sha256": hashes}
    atomic_write_bytes(_beside(path, "manifest.json"), json.dumps(manifest, indent=2, ensure_ascii=False).encode())
    for name in (lineage, path):
        if name is not None:
            _temporary(name).rename(name)
    return counts.done()


def _write_lines(
    rows: TextIO,
    origins: TextIO | None,
    folder: Path,
    exported: Iterable[ExportedRow],
    counts: _Written,
) -> None:
    for each in exported:
        counts.num_rows += 1
        rows.write(json.dumps(each.row, ensure_ascii=False) + "\n")
        if origins is not None:
            origin = lineage_of(each.exchange, choice_index=each.choice_index or 0, line=counts.num_rows)
            origins.write(json.dumps(origin, ensure_ascii=False) + "\n")
        counts.files |= _write_artifacts(folder, each, already=counts.files)
    for file in (rows, origins):
        if file is not None:
            file.flush()
            os.fsync(file.fileno())


def _write_artifacts(folder: Path, exported: ExportedRow, *, already: set[str]) -> set[str]:
    answer, index = exported.exchange.answer, exported.choice_index
    outputs = [output for output in answer.outputs if index in (None, output.choice_index)] if answer else []
    found = {artifact_file_name(artifact): artifact for output in outputs for artifact in output.artifacts}
    for name in found.keys() - already:
        atomic_write_bytes(folder / name, found[name].data)
    return set(found)


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(f"{path.stem}.{ending}")


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.tmp-{os.getpid()}")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
