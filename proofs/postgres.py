"""A PostgreSQL of our own, which can be stopped at once and started again."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from proofs.evidence import NotPossibleHereError

_USER = "postgres"  # as whom it runs if we are root, for it refuses that


@dataclass(frozen=True, kw_only=True)
class Postgres:
    """A server on a Unix socket in a folder of its own."""

    binaries: Path
    folder: Path

    def address(self, database: str) -> str:
        """Return how a database of it is named."""
        return f"postgresql+psycopg://banyan@/{database}?host={self.folder}"

    def create(self, database: str) -> str:
        """Make an empty database and return its address."""
        words = [*_as_user(), self.binaries / "createdb", "-h", self.folder, "-U", "banyan", database]
        subprocess.run(words, check=True)
        return self.address(database)

    def start(self) -> None:
        """Start it, and return when it answers."""
        self._control("start")

    def stop(self) -> None:
        """Stop it as a crash does: nothing is finished, nothing is said to clients."""
        self._control("-m", "immediate", "stop")

    def _control(self, *words: str) -> None:
        place = ["-D", self.folder / "data", "-w", "-l", self.folder / "log"]
        options = ["-o", f"-k {self.folder} -c listen_addresses=''"]
        command = [*_as_user(), self.binaries / "pg_ctl", *place, *options, *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


@contextmanager
def own_postgres() -> Iterator[Postgres]:
    """Make and start a server for the time of the block.

    Raises: NotPossibleHereError where there is none.
    """
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    if find_spec("psycopg") is None:
        raise NotPossibleHereError("needs the extra banyan-gpt[postgres]")
    if not found:
        raise NotPossibleHereError("needs PostgreSQL on this machine")
    with tempfile.TemporaryDirectory() as name:  # its socket needs a short path
        os.chmod(name, 0o755)
        if os.geteuid() == 0:
            shutil.chown(name, _USER)
        server = Postgres(binaries=found[-1].parent, folder=Path(name))
        make = [*_as_user(), server.binaries / "initdb", "-D", f"{name}/data", "-U", "banyan", "--auth=trust"]
        subprocess.run([*make, "--encoding=UTF8"], check=True, stdout=subprocess.DEVNULL)
        server.start()
        try:
            yield server
        finally:
            with suppress(subprocess.CalledProcessError):  # it is down already, if a trial failed in the middle
                server.stop()


def _as_user() -> list[str]:
    return ["setpriv", f"--reuid={_USER}", f"--regid={_USER}", "--clear-groups", "--"] if os.geteuid() == 0 else []
