"""Each service for real where its package is installed; their seam with a double that remembers."""

import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from banyan.core.config import config_from_mapping
from banyan.core.errors import ConfigError, MissingExtraError, RemoteError
from banyan.testing.training import tiny_trainer
from banyan.train.trackers import (
    IDS_FILE,
    MlflowTracker,
    TrackedRun,
    Tracker,
    Tracking,
    TrackingConfig,
    TrackioTracker,
    WandbTracker,
    build_trackers,
)

STEPS = 4


class Remembered:
    """A service that keeps what it hears, and fails when it is told to."""

    def __init__(self, *, fails_in: str = "") -> None:
        self.fails_in = fails_in
        self.runs: list[TrackedRun] = []
        self.logged: list[tuple[int, dict[str, float]]] = []
        self.ends: list[bool] = []

    def start(self, run: TrackedRun) -> str:
        self._fail("start")
        self.runs.append(run)
        return run.earlier_id or "id-7"

    def log(self, values: Mapping[str, float], *, step: int) -> None:
        self._fail("log")
        self.logged.append((step, dict(values)))

    def finish(self, *, is_complete: bool) -> None:
        self.ends.append(is_complete)

    def _fail(self, where: str) -> None:
        if self.fails_in == where:
            raise OSError("the service is down\nand says much more")


def tracking(tracker: Tracker, *, log_every: int = 2) -> Tracking:
    settings = {"seed": 0, "train": {"steps": STEPS, "precision": "auto"}}
    return Tracking("double", tracker, project="trees", name="tiny", settings=settings, log_every=log_every)


def train(run: Path, tracker: Tracker, *, resume: bool = False, **parts: Any) -> None:
    parts = {"evaluator": lambda model, step: {"score": 0.5, "words/accuracy": 0.25, "words/note": "x"}} | parts
    tiny_trainer(run, steps=STEPS, callbacks=[tracking(tracker)], train={"evaluate_every": STEPS}, **parts).fit(
        resume=resume
    )


def test_a_service_hears_logged_steps_and_every_score(tmp_path: Path) -> None:
    heard = Remembered()
    train(tmp_path, heard)
    assert [step for step, _ in heard.logged] == [1, 2, 4, 4]
    assert {"train/loss", "train/loss/words", "train/learning_rate", "train/grad_norm"} <= set(heard.logged[0][1])
    assert heard.logged[-1][1] == {"evaluation/score": 0.5, "evaluation/words/accuracy": 0.25}
    assert heard.ends == [True]
    (run,) = heard.runs
    assert (run.project, run.name, run.earlier_id, run.settings["seed"]) == ("trees", "tiny", None, 0)


def test_a_resumed_run_goes_on_under_its_id(tmp_path: Path) -> None:
    train(tmp_path, Remembered())
    heard = Remembered()
    train(tmp_path, heard, resume=True)
    assert heard.runs[0].earlier_id == "id-7"
    assert json.loads((tmp_path / IDS_FILE).read_text()) == {"double": "id-7"}


def test_a_service_that_cannot_begin_ends_the_run_at_once(tmp_path: Path) -> None:
    with pytest.raises(RemoteError, match="double could not begin the run: the service is down") as caught:
        train(tmp_path, Remembered(fails_in="start"))
    assert "tracking.services" in str(caught.value.hint)


def test_a_service_that_fails_later_is_given_up_and_the_run_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    heard = Remembered(fails_in="log")
    train(tmp_path, heard)
    assert heard.ends == [] and (tmp_path / "last").exists()
    assert [record.getMessage() for record in caplog.records if "tracker_failed" in record.getMessage()] == [
        'tracker_failed service=double reason="the service is down"'
    ]


def test_an_error_that_ends_the_run_is_told(tmp_path: Path) -> None:
    def broken(model: Any, step: int) -> dict[str, Any]:
        raise ValueError("no score")

    heard = Remembered()
    with pytest.raises(ValueError):
        train(tmp_path, heard, evaluator=broken)
    assert heard.ends == [False]


def test_a_package_that_is_missing_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("banyan.train.trackers.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="needs the package wandb") as caught:
        build_trackers(TrackingConfig(services=("wandb",)), name="x", settings={}, log_every=1)
    assert caught.value.hint == 'pip install "banyan-gpt[wandb]"'


@pytest.mark.parametrize(
    ("mapping", "problem"),
    [
        ({"services": ["wandb", "wandb"]}, "names a service twice"),
        ({"services": ["tensorflow"]}, "services"),
        ({"project": ""}, "project is empty"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused(mapping: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        config_from_mapping(TrackingConfig, mapping)


@pytest.mark.skipif(find_spec("mlflow") is None, reason="needs the extra banyan-gpt[mlflow]")
@pytest.mark.filterwarnings("default")
def test_mlflow_keeps_the_run_in_its_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")
    train(tmp_path / "run", MlflowTracker())
    client = mlflow.MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("trees").experiment_id])
    assert run.info.status == "FINISHED" and run.data.params["train.steps"] == str(STEPS)
    assert run.data.metrics["evaluation/score"] == 0.5
    history = client.get_metric_history(run.info.run_id, "train/loss")
    assert [point.step for point in history] == [1, 2, 4]
    train(tmp_path / "run", MlflowTracker(), resume=True)
    assert len(client.search_runs([run.info.experiment_id])) == 1


@pytest.mark.skipif(find_spec("wandb") is None, reason="needs the extra banyan-gpt[wandb]")
@pytest.mark.filterwarnings("default")
def test_wandb_keeps_an_offline_run_in_the_run_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    train(tmp_path / "run", WandbTracker())
    (kept,) = (tmp_path / "run").glob("wandb/offline-run-*/run-*.wandb")
    content = kept.read_bytes()
    assert b"train/loss" in content and b"evaluation/score" in content
    assert json.loads((tmp_path / "run" / IDS_FILE).read_text())["double"] in kept.name


@pytest.mark.skipif(find_spec("trackio") is None, reason="needs the extra banyan-gpt[trackio]")
@pytest.mark.filterwarnings("default")
def test_trackio_keeps_the_run_in_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    train(tmp_path / "run", TrackioTracker())
    assert list((tmp_path / "trackio").glob("trees*.db"))
    assert capsys.readouterr().out == ""
