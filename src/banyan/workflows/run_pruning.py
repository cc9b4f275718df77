"""Room on the disk: checkpoints of finished runs that nobody will load."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from banyan.core.errors import BusyError
from banyan.core.locks import hold_directory
from banyan.store.runs import RunLog
from banyan.store.types import StoredCheckpoint
from banyan.train.checkpoints import CheckpointFolder

LINKS = ("best", "last")


@dataclass(frozen=True, kw_only=True, slots=True)
class Prunable:
    """A checkpoint that may go."""

    run_id: str
    run: str
    step: int
    path: Path
    size_bytes: int
    manifest_sha256: str  # under which answers of this model are filed


def find_prunable(rows: Sequence[Mapping[str, Any]], *, everything: bool = False) -> list[Prunable]:
    """Return the checkpoints of these runs, the newest run first, that neither `best` nor `last` means; or all of them.

    Two records of one run directory count once, for the newer run. A run that is being trained is left out.
    """
    newest = {Path(row["directory"]): row for row in reversed(rows)}
    return [item for directory, row in newest.items() for item in _in_run(directory, row, everything=everything)]


def prune(items: Sequence[Prunable], log: RunLog) -> list[Prunable]:
    """Remove checkpoints and write so into the database; return those that are gone.

    Runs that somebody trains by now are left alone.
    """
    gone = []
    for directory in dict.fromkeys(item.path.parent.parent for item in items):
        with suppress(BusyError), hold_directory(directory):
            folder = CheckpointFolder(directory)
            for item in (item for item in items if item.path.parent.parent == directory):
                folder.discard(item.step)
                gone.append(item)
                _unlink(directory, item.path)
    for item in gone:
        purged = StoredCheckpoint(
            run_id=item.run_id,
            step=item.step,
            path=str(item.path),
            size_bytes=item.size_bytes,
            manifest_sha256=item.manifest_sha256,
            state="purged",
        )
        log.record_checkpoint(purged).result()
    return gone


def _in_run(directory: Path, row: Mapping[str, Any], *, everything: bool) -> Iterator[Prunable]:
    if not (directory / "checkpoints").is_dir() or _is_held(directory):
        return
    folder = CheckpointFolder(directory)
    kept = set() if everything else {(directory / link).resolve() for link in LINKS}
    digests = {checkpoint["step"]: checkpoint["manifest_sha256"] for checkpoint in row["checkpoints"]}
    for step in folder.steps():
        path = folder.path(step)
        if path.resolve() not in kept:
            size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
            yield Prunable(
                run_id=row["id"],
                run=row["name"],
                step=step,
                path=path,
                size_bytes=size,
                manifest_sha256=digests.get(step, ""),
            )


def _is_held(directory: Path) -> bool:
    try:
        with hold_directory(directory):
            return False
    except BusyError:
        return True


def _unlink(directory: Path, removed: Path) -> None:
    """Remove the links that meant a checkpoint which is gone."""
    for link in (directory / name for name in LINKS):
        if link.is_symlink() and not link.exists() and link.readlink().name == removed.name:
            link.unlink()
