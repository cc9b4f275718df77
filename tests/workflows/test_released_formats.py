"""Whatever an earlier version saved can be gone on from, and answers."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from banyan.core.config import read_config
from banyan.runtime.loading import load
from banyan.train.run_files import read_json_lines
from banyan.workflows.recipe import Recipe
from banyan.workflows.reporter import SilentReporter
from banyan.workflows.training import train

FIXTURES = Path(__file__).parents[1] / "fixtures"


@pytest.mark.parametrize("name", ["run-format-1"])
def test_a_run_of_an_earlier_version_goes_on_where_it_stopped(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(FIXTURES / name, tmp_path / name, symlinks=True)
    monkeypatch.chdir(tmp_path / name)
    with load("run/last") as model:
        assert isinstance(model.generate("red", max_tokens=2), str)
    outcome = train(
        read_config(Recipe, Path("recipe.yaml")), reporter=SilentReporter(), run_directory=Path("run"), resume=True
    )
    assert outcome.result.steps == 8
    assert [line["event"] for line in read_json_lines(Path("run/events.jsonl"))][0] == "resumed"
    assert not list(Path("run").glob("checkpoints/*.corrupt"))
