"""The whole program in this process: words in, exit code and what was printed out."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from banyan.cli.main import main
from banyan.core.before_torch import PASSIVE_WAITING, REPEATABLE_PRODUCTS
from banyan.workflows.training import TrainingOutcome


@dataclass(frozen=True, kw_only=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def answer(self) -> Any:
        """What `--json` printed; fails unless it is exactly one JSON value on one line."""
        assert self.out.count("\n") == 1 and self.out.endswith("\n"), self.out
        return json.loads(self.out)

    @property
    def error(self) -> str:
        """The one line that says what is wrong; fails if there is a traceback, or more than a hint beside it."""
        lines = [line for line in self.err.splitlines() if not line.startswith("hint: ")]
        errors = [line for line in lines if line.startswith("error: ")]
        assert len(errors) == 1 and lines[-1] == errors[0] and "Traceback" not in self.err, self.err
        assert "internal error" not in errors[0], self.err
        return errors[0].removeprefix("error: ")


@pytest.fixture(autouse=True)
def _places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let everything land in this test's own folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BANYAN_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("BANYAN_DATABASE", f"sqlite:///{tmp_path / 'banyan.db'}")


@pytest.fixture
def banyan(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Run `banyan WORDS…` here; `stdin` is what is piped into it."""
    for name, value in (PASSIVE_WAITING, REPEATABLE_PRODUCTS):
        monkeypatch.setenv(name, os.environ.get(name, value))

    def run(*words: object, stdin: str | None = None) -> Ran:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin or ""))
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main([str(word) for word in words])
        printed = capsys.readouterr()
        return Ran(code=int(end.value.code or 0), out=printed.out, err=printed.err)

    return run


@pytest.fixture(scope="session")
def model(tiny_run: TrainingOutcome) -> Path:
    """A model that was taught all eight kinds of task; to be read only."""
    return tiny_run.run_directory / "best"


@pytest.fixture
def own_model(model: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may damage."""
    copy = tmp_path / "model"
    copy.mkdir()
    for file in model.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    return copy
