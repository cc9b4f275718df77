"""The one place that reads the environment, and the names of the folders Banyan uses."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path


def runs_directory() -> Path:
    """Return where runs are kept: `BANYAN_RUNS`, or ./runs."""
    return Path(os.environ.get("BANYAN_RUNS", "runs"))


def data_directory() -> Path | None:
    """Return where downloaded data sets lie: `BANYAN_DATA`, or None if it is not set."""
    value = os.environ.get("BANYAN_DATA")
    return Path(value) if value else None


def cache_directory() -> Path:
    """Return where what can be made again is kept between runs: `XDG_CACHE_HOME`/banyan, or ~/.cache/banyan."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "banyan"


def default_database_url() -> str:
    """Return the database every command uses unless told otherwise: `BANYAN_DATABASE`, or runs/banyan.db."""
    return os.environ.get("BANYAN_DATABASE") or f"sqlite:///{runs_directory() / 'banyan.db'}"


def plugin_files() -> list[Path]:
    """Return the files whose kinds of task are to be known: `BANYAN_PLUGINS`, paths separated as in PATH."""
    return [Path(value) for value in os.environ.get("BANYAN_PLUGINS", "").split(os.pathsep) if value]


def add_plugin_files(paths: Sequence[str]) -> None:
    """Put further files into `BANYAN_PLUGINS`, so that processes started from this one know them, too."""
    absolute = [str(Path(path).absolute()) for path in paths]
    known = [str(path) for path in plugin_files()]
    os.environ["BANYAN_PLUGINS"] = os.pathsep.join(dict.fromkeys([*known, *absolute]))


def thread_count() -> int | None:
    """Return the number of threads asked for by `BANYAN_THREADS`, or None."""
    value = os.environ.get("BANYAN_THREADS", "")
    return int(value) if value.isdigit() and int(value) > 0 else None
