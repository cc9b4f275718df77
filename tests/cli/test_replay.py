import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from banyan.cli.outputs import app
from banyan.core.errors import CheckpointError, ConfigError
from banyan.infer.sampling import SamplingConfig
from banyan.runtime.loading import load
from banyan.testing.model_directories import save_tiny_model
from banyan.workflows.answer_records import AnswerRecorder
from banyan.workflows.speaking import continue_text


def run(*words: str) -> Result:
    result = CliRunner().invoke(app, ["replay", *words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_replay_says_that_the_answer_is_the_same_and_refuses_another_model(tmp_path: Path) -> None:
    model, other = (save_tiny_model(tmp_path / name, seed=seed) for name, seed in (("one", 0), ("other", 1)))
    database = f"sqlite:///{tmp_path / 'a.db'}"
    with (
        load(model, device="cpu", num_slots=2) as loaded,
        AnswerRecorder(loaded, endpoint="generate", database=database) as recorder,
    ):
        sampling = SamplingConfig(temperature=1.0, seed=3, max_tokens=8)
        continue_text(loaded, "The banyan", sampling=sampling, recorder=recorder)
    assert "the same answer, byte for byte" in run("last", str(model), "--database", database).stdout
    assert json.loads(run("last", str(model), "--database", database, "--json").stdout)["same"] is True
    with pytest.raises(CheckpointError, match="another model gives another answer"):
        run("last", str(other), "--database", database)
    with pytest.raises(ConfigError, match="does not lie where it was saved"):
        run("last", "--database", database)
