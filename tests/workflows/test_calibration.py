"""A model is calibrated where it lies: probabilities change, labels and weights do not."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from banyan.core.errors import BusyError, ConfigError, DataError
from banyan.core.locks import hold_directory
from banyan.core.model_directory import MANIFEST, verify_manifest
from banyan.core.types import Prediction
from banyan.runtime.description import read_description
from banyan.runtime.loading import load
from banyan.testing.adapters import save_random_adapter
from banyan.testing.model_directories import save_tiny_model
from banyan.testing.tasks import TASKS
from banyan.workflows.calibration import TaskCalibration, calibrate, save_calibration
from banyan.workflows.reporter import SilentReporter
from banyan.workflows.training import TrainingOutcome

WIDE = dataclasses.replace(TASKS["classification"], pooling="mean", ngram_buckets=64)  # its head has a table
TEXTS = ("red thing", "蓝色 thing", "green", "a tree")


def fit(model: Path, *data: str, tasks: tuple[str, ...] = ()) -> dict[str, TaskCalibration]:
    return calibrate(model, tasks=tasks, data=data, split="test", max_examples=60, reporter=SilentReporter())


def answers(model: Path, task: str) -> list[Prediction]:
    with load(model) as loaded:
        return loaded.predict(task, list(TEXTS))


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    lines = [{"text": f"{text} {n}", "label": ("tree", "树")[n % 2]} for n in range(12) for text in TEXTS]
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), "utf-8")
    return path


def test_probabilities_follow_the_temperature_and_labels_stay(tmp_path: Path, rows: Path) -> None:
    model = save_tiny_model(tmp_path / "model")
    before, weights = answers(model, "topic"), (model / "model.safetensors").read_bytes()
    found = fit(model, f"topic={rows}")["topic"]
    assert read_description(model).temperatures == {"topic": found.temperature}
    after = answers(model, "topic")
    assert [answer.text for answer in after] == [answer.text for answer in before]
    for one, other in zip(before, after, strict=True):
        logits = np.log(list((one.labels or {}).values())) / found.temperature
        assert list((other.labels or {}).values()) == pytest.approx(np.exp(logits) / np.exp(logits).sum())
    verify_manifest(model)
    assert (model / "model.safetensors").read_bytes() == weights
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "rows.jsonl"]


def test_fitting_again_gives_the_same_temperature(tmp_path: Path, rows: Path) -> None:
    model = save_tiny_model(tmp_path / "model")
    first = fit(model, f"topic={rows}")
    assert fit(model, f"topic={rows}") == first  # what it was calibrated to before does not count


def test_a_trained_model_is_fitted_on_one_split_and_measured_on_another(
    tiny_run: TrainingOutcome, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_run.run_directory / "best", model)
    found = fit(model)["classification"]
    assert found.measured_on == "test" and found.num_fitted > 0 and found.num_measured > 0
    assert {*found.before} == {*found.after} == {"ece", "adaptive_ece"}


def test_a_table_answers_with_the_share_and_temperature_that_were_fitted(tmp_path: Path, rows: Path) -> None:
    model = save_tiny_model(tmp_path / "model", tasks=[WIDE])
    with load(model) as loaded:
        alone = []
        for share in (0.0, 1.0):
            loaded.model.heads.set_table_shares({"topic": share})
            alone.append([list((each.labels or {}).values()) for each in loaded.predict("topic", list(TEXTS))])
    found = fit(model, f"topic={rows}")["topic"]
    share = found.table_share
    assert share is not None and read_description(model).table_shares == {"topic": share}
    for linear, table, answer in zip(*alone, answers(model, "topic"), strict=True):
        logits = ((1 - share) * np.log(linear) + share * np.log(table)) / found.temperature
        assert list((answer.labels or {}).values()) == pytest.approx(np.exp(logits) / np.exp(logits).sum(), rel=1e-4)
    assert fit(model, f"topic={rows}")["topic"] == found  # what it was calibrated to before does not count


def test_an_adapter_has_table_shares_of_its_own(tmp_path: Path, rows: Path) -> None:
    model = save_tiny_model(tmp_path / "model", tasks=[WIDE])
    adapter = save_random_adapter(tmp_path / "adapter", model, tasks=[WIDE])
    before, found = answers(model, "topic"), fit(adapter, f"topic={rows}")["topic"]
    assert read_description(adapter).table_shares == {"topic": found.table_share}
    with load(adapter) as loaded:
        shares = [loaded.model.heads_under(name)["topic"].table_share for name in (loaded.adapter, None)]
    assert shares == [found.table_share, 0.5] and answers(model, "topic") == before


def test_a_checkpoint_is_calibrated_through_its_link_but_never_under_a_run(tmp_path: Path) -> None:
    run = tmp_path / "run"
    checkpoint = save_tiny_model(run / "checkpoints" / "step-00000001")
    (run / "best").symlink_to(checkpoint.relative_to(run))
    manifest = (checkpoint / MANIFEST).read_bytes()
    with hold_directory(run), pytest.raises(BusyError):
        save_calibration(run / "best", {"topic": 2.0})
    assert (checkpoint / MANIFEST).read_bytes() == manifest
    save_calibration(run / "best", {"topic": 2.0})
    assert (run / "best").is_symlink() and read_description(run / "best").temperatures == {"topic": 2.0}
    verify_manifest(checkpoint)


def test_what_cannot_be_calibrated_is_told(tmp_path: Path, rows: Path) -> None:
    model = save_tiny_model(tmp_path / "model")
    with pytest.raises(ConfigError, match="task mt is of kind translation"):
        fit(model, tasks=("mt",))
    with pytest.raises(DataError, match="sky"):
        rows.write_text('{"text": "a", "label": "sky"}\n')
        fit(model, f"topic={rows}")
    assert read_description(model).temperatures == {}


def test_an_adapter_has_temperatures_of_its_own(tmp_path: Path, rows: Path) -> None:
    model = save_tiny_model(tmp_path / "model")
    adapter = save_random_adapter(tmp_path / "adapter", model, tasks=[TASKS["classification"]])
    before = answers(model, "topic")
    found = fit(adapter, f"topic={rows}")["topic"]
    assert read_description(adapter).temperatures == {"topic": found.temperature}
    assert found.temperature != 1 and answers(model, "topic") == before
    with load(adapter) as loaded:
        assert loaded.description.temperatures == {"topic": found.temperature}
