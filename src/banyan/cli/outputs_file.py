"""Writes exported rows to a file, complete or not at all, with their pictures beside it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from banyan.core.errors import ConfigError
from banyan.core.files import as_write_error, atomic_write_bytes, fsync_directory
from banyan.store.export import artifact_file_name
from banyan.store.types import StoredExchange


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """How much an export wrote."""

    num_rows: int
    num_images: int


def write_rows(path: Path, pairs: Iterable[tuple[dict[str, Any], StoredExchange]]) -> Written:
    """Write one JSON line for each row and every picture that belongs to it.

    Raises: ConfigError if the file exists already; SpaceError if it cannot be written.
    """
    if path.exists():
        raise ConfigError(f"{path} exists already; an export never replaces a file.", hint="choose another name")
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        written = _write(temporary, path.parent, pairs)
        temporary.rename(path)
        fsync_directory(path.parent)
    except OSError as error:
        raise as_write_error(error, path) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    return written


def _write(file_path: Path, folder: Path, pairs: Iterable[tuple[dict[str, Any], StoredExchange]]) -> Written:
    num_rows = 0
    files: set[str] = set()
    with file_path.open("x", encoding="utf-8", errors="backslashreplace") as file:
        for row, exchange in pairs:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            num_rows += 1
            files |= _write_artifacts(folder, exchange, already=files)
        file.flush()
        os.fsync(file.fileno())
    return Written(num_rows=num_rows, num_images=sum(name.startswith("images/") for name in files))


def _write_artifacts(folder: Path, exchange: StoredExchange, *, already: set[str]) -> set[str]:
    outputs = exchange.answer.outputs if exchange.answer else ()
    found = {artifact_file_name(artifact): artifact for output in outputs for artifact in output.artifacts}
    for name in found.keys() - already:
        atomic_write_bytes(folder / name, found[name].data)
    return set(found)
