"""The checkpoints of one run: which exist, which can be trusted, which are kept, and the links `best` and `last`."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from banyan.core.errors import CheckpointError, ConfigError, FileError
from banyan.core.files import as_write_error, fsync_directory, read_text
from banyan.core.model_directory import new_model_directory, verify_manifest

_REASON_FILE = "why_corrupt.txt"  # in a directory that was set aside
_NAME = re.compile(r"step-(\d{8,})")
_LEFTOVER = re.compile(r"step-\d{8,}\.(tmp-\d+|old-\d+|purged)")  # of a save or a purge that was killed


@dataclass(frozen=True, kw_only=True, slots=True)
class Quarantined:
    """A checkpoint that was set aside, and why."""

    path: Path  # its new name
    reason: str


class CheckpointFolder:
    """`checkpoints/step-00000120`, … of one run directory. A step directory without a valid manifest does not exist."""

    def __init__(self, run_directory: Path) -> None:
        self.run_directory = run_directory
        self.directory = run_directory / "checkpoints"

    def path(self, step: int) -> Path:
        """Return where the checkpoint of a step lies."""
        return self.directory / f"step-{step:08d}"

    def steps(self) -> list[int]:
        """Return the steps that have a checkpoint, oldest first; by number, whatever the clock said."""
        names = [path.name for path in self.directory.iterdir()] if self.directory.is_dir() else []
        return sorted(int(match[1]) for name in names if (match := _NAME.fullmatch(name)))

    def require_fresh(self) -> None:
        """Refuse a run that has already saved.

        Raises: ConfigError naming how far it came.
        """
        if steps := self.steps():
            raise ConfigError(
                f"{self.run_directory} already holds a run that came to step {steps[-1]}.",
                hint="go on with --resume, or give this run another name",
            )

    def clean(self) -> None:
        """Remove what killed saves and purges left behind. Only for the holder of the run's lock."""
        for path in list(self.directory.iterdir()) if self.directory.is_dir() else []:
            if _LEFTOVER.fullmatch(path.name):
                shutil.rmtree(path, ignore_errors=True)

    def shards(self, step: int) -> Path:
        """Return where several processes write the pieces of a checkpoint before it is complete."""
        return self.directory / f"step-{step:08d}.tmp-0"  # no process has this number; swept up like any other

    @contextmanager
    def new(self, step: int) -> Iterator[Path]:
        """Give a directory to fill; it becomes the step's checkpoint, with its manifest, if the block ends well.

        Raises: SpaceError if the disk is full; then nothing has changed.
        """
        with new_model_directory(self.path(step)) as temporary:
            yield temporary

    def newest_valid(self) -> tuple[int | None, list[Quarantined]]:
        """Return the newest step whose files are all as they were written; damaged ones are renamed to `*.corrupt`.

        Returns None where the run has no checkpoint at all.
        Raises: CheckpointError naming every damaged one if none is left that can be trusted.
        """
        quarantined: list[Quarantined] = []
        for step in reversed(self.steps()):
            try:
                verify_manifest(self.path(step))
            except (CheckpointError, FileError) as error:
                quarantined.append(Quarantined(path=self._set_aside(step, reason=str(error)), reason=str(error)))
            else:
                return step, quarantined
        if corrupt := sorted(self.directory.glob("step-*.corrupt*")):
            damages = " ".join(f"{path.name}: {_reason_of(path)}" for path in corrupt)
            raise CheckpointError(
                f"none of the checkpoints in {self.directory} can be used. {damages}",
                hint="remove the run directory, or start a run with another name",
            )
        return None, quarantined

    def link(self, name: str, step: int) -> None:
        """Let `best` or `last` mean the checkpoint of a step, in one step."""
        link = self.run_directory / name
        temporary = link.with_name(f".{name}.tmp-{os.getpid()}")
        try:
            temporary.unlink(missing_ok=True)
            temporary.symlink_to(self.path(step).relative_to(self.run_directory))
            temporary.replace(link)
            fsync_directory(self.run_directory)
        except OSError as error:
            raise as_write_error(error, link) from error

    def purge(self, *, keep: int, is_regular: Callable[[int], bool], protect: int | None) -> None:
        """Remove all but the newest checkpoint, the newest `keep` of those at regular steps, and the protected one."""
        steps = self.steps()
        kept = {steps[-1], protect, *[step for step in steps if is_regular(step)][-keep:]}
        for step in steps:
            if step not in kept:
                self.discard(step)
        for hidden in self.directory.glob("step-*.abandoned"):
            if hidden.name <= f"{self.path(self.steps()[-1]).name}.abandoned":  # the run has come by again
                shutil.rmtree(hidden, ignore_errors=True)

    def discard(self, step: int) -> None:
        """Remove the checkpoint of a step, if it is there."""
        doomed = self.path(step).with_name(f"{self.path(step).name}.purged")
        shutil.rmtree(doomed, ignore_errors=True)
        if self.path(step).is_dir():
            self.path(step).rename(doomed)  # out of sight at once: a half-removed checkpoint is never seen
            shutil.rmtree(doomed, ignore_errors=True)

    def hide(self, step: int) -> None:
        """Take a checkpoint out of sight that the run has gone back from; it stays until the run comes by again."""
        hidden = self.path(step).with_name(f"{self.path(step).name}.abandoned")
        shutil.rmtree(hidden, ignore_errors=True)
        if self.path(step).is_dir():
            self.path(step).rename(hidden)

    def _set_aside(self, step: int, *, reason: str) -> Path:
        path = self.path(step)
        corrupt = path.with_name(f"{path.name}.corrupt")
        number = 2
        while corrupt.exists():
            corrupt = path.with_name(f"{path.name}.corrupt-{number}")
            number += 1
        path.rename(corrupt)
        with suppress(OSError):  # it is set aside even where its reason cannot be written
            (corrupt / _REASON_FILE).write_text(reason, "utf-8")
        return corrupt


def _reason_of(corrupt: Path) -> str:
    try:
        return read_text(corrupt / _REASON_FILE, max_bytes=10_000)
    except FileError:
        return "set aside in an earlier attempt."
