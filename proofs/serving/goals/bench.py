"""What every trial starts from: a tiny model with a task of every kind, and real servers of it that can be killed.

A trial is a function `run(bench, trial) -> str`; it raises AssertionError where what was to hold does not. Typical use:

    def run(bench: Bench, trial: str) -> str:
        with bench.server(f"G15-{trial}", kind="SQLite") as server:  # `banyan serve` on a free port
            with server.client() as client:  # httpx, with a key that opens everything
                client.post("/v1/completions", json={"model": "tiny", "prompt": "a", "max_tokens": 4})
            other = server.new_key("other", scopes=("infer",))  # another caller
            server.kill(); server.start()  # SIGKILL; up again, same port and database
            code = server.stop()  # SIGTERM, waits, exit code
            exchanges = server.exchanges()  # what the database kept, read from outside
        return "what was seen"

`server.said()` is everything the server wrote to stdout and stderr. `bench.place(name)` is a fresh folder.
The model's name in the API is "tiny", its context CONTEXT tokens; `TASK_NAMES` gives the names of its tasks by kind.
"""

from __future__ import annotations

import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx

from banyan.store.key_types import SCOPES
from banyan.store.keys import create_key
from banyan.store.queries import StoreQueries
from banyan.store.sql_store import open_database
from banyan.store.types import StoredExchange
from banyan.store.verify import VerifyReport, verify_database
from banyan.testing.model_directories import save_tiny_model
from banyan.testing.tasks import TASKS
from proofs.postgres import Postgres, own_postgres
from proofs.serving.goals.processes import BanyanProcess, Fault

CONTEXT = 400  # tokens the tiny model can address
MODEL_NAME = "tiny"
TASK_NAMES = {task.kind: task.name for task in reversed(TASKS.values())}  # the first of each kind
KINDS = ("SQLite", "PostgreSQL")
_START_SECONDS = 120.0
_STOP_SECONDS = 60.0


class Bench:
    """Makes places and servers for trials, below one folder."""

    def __init__(self, directory: Path, *, until_end: ExitStack) -> None:
        self.directory = directory
        self._until_end = until_end
        self._num_databases = 0

    @cached_property
    def model(self) -> Path:
        """The directory of the tiny model."""
        return save_tiny_model(self.directory / MODEL_NAME, max_seq_len=CONTEXT)

    @cached_property
    def postgres(self) -> Postgres:
        """A PostgreSQL of our own; raises NotPossibleHereError where there is none."""
        return self._until_end.enter_context(own_postgres())

    @cached_property
    def _empty_file(self) -> Path:
        """A SQLite database with all tables and nothing in them, to be copied."""
        path = self.directory / "empty.db"
        open_database(str(path), create=True).close()
        return path

    def place(self, name: str) -> Path:
        """Return a fresh folder."""
        folder = self.directory / "trials" / name.replace(" ", "-")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def database(self, kind: str, folder: Path) -> str:
        """Return the address of a fresh database with all tables: a file in a folder, or one of the PostgreSQL."""
        if kind == "SQLite":
            shutil.copy(self._empty_file, folder / "banyan.db")
            return f"sqlite:///{folder / 'banyan.db'}"
        self._num_databases += 1
        address = self.postgres.create(f"proof_{self._num_databases}")
        open_database(address, create=True).close()
        return address

    @contextmanager
    def server(
        self,
        name: str,
        *words: str,
        kind: str = "SQLite",
        database: str | None = None,
        is_started: bool = True,
        fault: Fault | None = None,
    ) -> Iterator[Server]:
        """Give a server with a database of its own for the time of the block.

        `words` are options of `banyan serve`; a `fault` runs in each of its processes first.
        """
        folder = self.place(name)
        server = Server(self.model, folder, database=database or self.database(kind, folder), words=words, fault=fault)
        try:
            if is_started:
                server.start()
            yield server
        finally:
            server.kill()
        shutil.rmtree(folder, ignore_errors=True)  # kept after a failure, for whoever looks


class Server:
    """`banyan serve` on one port and one database, through as many processes as are killed."""

    def __init__(
        self, model: Path, folder: Path, *, database: str, words: Sequence[str] = (), fault: Fault | None = None
    ) -> None:
        self.folder = folder
        self.database = database
        self._fault = fault
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.key = self.new_key("proof", scopes=SCOPES)
        self._words = ("serve", str(model), "--name", MODEL_NAME, "--port", str(self.port), "--device", "cpu", *words)
        self.process: BanyanProcess | None = None  # the newest one

    def start(self) -> None:
        """Start a process and return when it answers.

        Raises: AssertionError if it ends instead.
        """
        self.begin_to_start()
        self.wait_until_ready()

    def begin_to_start(self) -> None:
        """Start a process and return at once."""
        assert self.process is None or self.process.code is not None, "the one before still runs"
        environment = {"BANYAN_RUNS": str(self.folder / "runs")}
        words = (*self._words, "--database", self.database)
        self.process = BanyanProcess(
            words, output=self.folder / "output.txt", environment=environment, fault=self._fault
        )

    def wait_until_ready(self) -> None:
        """Return when it answers."""
        assert self.process is not None, "it was never started"
        deadline = time.monotonic() + _START_SECONDS
        while not _listens(self.port):
            assert self.process.code is None, f"it ended with {self.process.code}: {self.said()[-600:]}"
            assert time.monotonic() < deadline, f"not ready after {_START_SECONDS:.0f} s: {self.said()[-600:]}"
            time.sleep(0.005)

    def kill(self) -> None:
        """Send SIGKILL and return when the process is gone."""
        if self.process is not None:
            self.process.send(signal.SIGKILL)
            assert self.process.wait(_STOP_SECONDS) is not None, "SIGKILL did not end it"

    def stop(self) -> int:
        """Send SIGTERM, wait, and return the exit code."""
        assert self.process is not None, "it was never started"
        self.process.send(signal.SIGTERM)
        code = self.process.wait(_STOP_SECONDS)
        assert code is not None, f"it still runs {_STOP_SECONDS:.0f} s after SIGTERM"
        return code

    def said(self) -> str:
        """Return everything that its processes wrote to stdout and stderr."""
        output = self.folder / "output.txt"
        return output.read_text("utf-8", errors="replace") if output.exists() else ""

    def client(self, *, key: str | None = None, **settings: Any) -> httpx.Client:
        """Return a client that shows a key; that of this server unless another is given."""
        headers = {"Authorization": f"Bearer {key or self.key}", **settings.pop("headers", {})}
        return httpx.Client(base_url=self.url, headers=headers, verify=False, **{"timeout": 60, **settings})

    def new_key(self, name: str, *, scopes: Sequence[str], **rights: Any) -> str:
        """Make a key in its database and return the secret; `rights` as those of `create_key`."""
        database = open_database(self.database)
        try:
            return create_key(database, name=name, scopes=tuple(scopes), **rights).secret
        finally:
            database.close()

    def exchanges(self) -> list[StoredExchange]:
        """Return everything the database keeps of requests, the newest first."""
        database = open_database(self.database)
        try:
            return StoreQueries(database).newest()
        finally:
            database.close()

    def verified(self) -> VerifyReport:
        """Check the whole database, as `banyan db verify` does."""
        database = open_database(self.database)
        try:
            return verify_database(database)
        finally:
            database.close()


@contextmanager
def open_bench(directory: Path) -> Iterator[Bench]:
    """Give a bench, and stop what it started afterwards, also if the proof is told to end."""
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        with ExitStack() as until_end:
            yield Bench(directory, until_end=until_end)
    finally:
        signal.signal(signal.SIGTERM, before)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    """Whether the server answers, which it does only once everything is loaded."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=5, verify=False).status_code == 200
    except httpx.TransportError:
        return False
