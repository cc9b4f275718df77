"""The same numbers for services that compare experiments: Weights & Biases, MLflow, Trackio. Each is an extra."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Protocol

from banyan.core.config import config
from banyan.core.errors import ConfigError, FileError, RemoteError, missing_extra
from banyan.core.files import atomic_write_json, read_json
from banyan.core.logging import log_event
from banyan.train.callbacks import Callback, EvaluationRecord, FitResult, RunStart, StepRecord
from banyan.train.run_files import is_logged

Service = Literal["wandb", "mlflow", "trackio"]
IDS_FILE = "trackers.json"  # in the run directory: under which id each service knows the run
_LOGGER = logging.getLogger(__name__)
_MLFLOW_PAUSE_SECONDS = 5.0  # between two writes, each of which waits for a database
_MLFLOW_MAX_PARAMS, _MLFLOW_MAX_CHARACTERS = 100, 500


@config
class TrackingConfig:
    """Which services hear of a run, beside its own files. Addresses and keys are the services' own settings."""

    services: tuple[Service, ...] = ()
    project: str = "banyan"  # W&B and Trackio: project; MLflow: experiment

    def __post_init__(self) -> None:
        if not self.project:
            raise ConfigError("tracking.project is empty; give it a name, for example banyan.")
        if len(set(self.services)) < len(self.services):
            raise ConfigError(f"tracking.services={list(self.services)} names a service twice.")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrackedRun:
    """What a service is told of a run when it begins."""

    project: str
    name: str
    directory: Path
    settings: Mapping[str, Any]  # the recipe as plain values
    earlier_id: str | None  # under which the service knows it already


class Tracker(Protocol):
    """One service that keeps the numbers of one run."""

    def start(self, run: TrackedRun) -> str:
        """Begin the run, or go on with it, and return the service's id of it."""

    def log(self, values: Mapping[str, float], *, step: int) -> None:
        """Keep the numbers of one step."""

    def finish(self, *, is_complete: bool) -> None:
        """Say that no more will come; `is_complete` unless an error ended the run."""


class WandbTracker:
    """Weights & Biases; `WANDB_MODE=offline` keeps everything in the run directory."""

    _run: Any = None

    def start(self, run: TrackedRun) -> str:
        """Begin a run with our id, so that a resumed one goes on where it was."""
        import wandb  # an extra

        self._run = wandb.init(
            project=run.project,
            name=run.name,
            id=run.earlier_id,
            resume="allow",
            config=dict(run.settings),
            dir=str(run.directory),
            settings=wandb.Settings(silent=True, console="off"),  # the terminal is ours
        )
        return str(self._run.id)

    def log(self, values: Mapping[str, float], *, step: int) -> None:
        """Send the numbers; steps that are done again after a resume are left as they were."""
        self._run.log(dict(values), step=step)

    def finish(self, *, is_complete: bool) -> None:
        """Send what is left."""
        self._run.finish(exit_code=0 if is_complete else 1)


class MlflowTracker:
    """MLflow, at the address of `MLFLOW_TRACKING_URI` or in its own local database."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._client: Any = None
        self._run_id = ""
        self._waiting: list[Any] = []
        self._clock = clock
        self._sent_at = -math.inf

    def start(self, run: TrackedRun) -> str:
        """Begin a run in the project's experiment, with the recipe's values as parameters."""
        import mlflow  # an extra

        self._client = mlflow.MlflowClient()
        if run.earlier_id is not None:
            self._run_id = run.earlier_id
            self._client.update_run(self._run_id, status="RUNNING")
            return self._run_id
        experiment = self._client.get_experiment_by_name(run.project)
        key = self._client.create_experiment(run.project) if experiment is None else experiment.experiment_id
        self._run_id = str(self._client.create_run(key, run_name=run.name).info.run_id)
        params = [
            mlflow.entities.Param(name, str(value)[:_MLFLOW_MAX_CHARACTERS])
            for name, value in _flat(run.settings).items()
        ]
        self._client.log_batch(self._run_id, params=params[:_MLFLOW_MAX_PARAMS])
        return self._run_id

    def log(self, values: Mapping[str, float], *, step: int) -> None:
        """Keep the numbers, and write them together with others every few seconds."""
        import mlflow

        now = round(time.time() * 1000)
        self._waiting += [mlflow.entities.Metric(name, value, now, step) for name, value in values.items()]
        if self._clock() - self._sent_at >= _MLFLOW_PAUSE_SECONDS:
            self._send()

    def finish(self, *, is_complete: bool) -> None:
        """Write what is left."""
        self._send()
        self._client.set_terminated(self._run_id, "FINISHED" if is_complete else "FAILED")

    def _send(self) -> None:
        while self._waiting:
            part, self._waiting = self._waiting[:1000], self._waiting[1000:]
            self._client.log_batch(self._run_id, metrics=part)
        self._sent_at = self._clock()


class TrackioTracker:
    """Trackio, in its local database or in a Space."""

    _run: Any = None

    def start(self, run: TrackedRun) -> str:
        """Begin a run; its name is its id."""
        import trackio  # an extra

        with redirect_stdout(None):  # it greets, where only results belong
            self._run = trackio.init(
                project=run.project, name=run.earlier_id or run.name, config=dict(run.settings), resume="allow"
            )
        return str(self._run.name)

    def log(self, values: Mapping[str, float], *, step: int) -> None:
        """Keep the numbers."""
        self._run.log(dict(values), step=step)

    def finish(self, *, is_complete: bool) -> None:
        """Write what is left."""
        with redirect_stdout(None):
            self._run.finish()


TRACKERS: Mapping[str, Callable[[], Tracker]] = MappingProxyType(
    {"wandb": WandbTracker, "mlflow": MlflowTracker, "trackio": TrackioTracker}
)


class Tracking(Callback):
    """Tells one service of a run. One that fails while the run goes on is given up, with a warning."""

    def __init__(
        self, service: str, tracker: Tracker, *, project: str, name: str, settings: Mapping[str, Any], log_every: int
    ) -> None:
        self._service = service
        self._tracker: Tracker | None = tracker
        self._project = project
        self._name = name
        self._settings = settings
        self._log_every = log_every
        self._is_started = self._is_complete = False

    def on_start(self, record: RunStart) -> None:
        """Begin the run in the service.

        Raises: RemoteError if that is not possible: nobody has waited for anything yet.
        """
        assert self._tracker is not None
        ids = _read_ids(record.run_directory / IDS_FILE)
        run = TrackedRun(
            project=self._project,
            name=self._name,
            directory=record.run_directory,
            settings=self._settings,
            earlier_id=ids.get(self._service) if record.step else None,
        )
        try:
            ids[self._service] = self._tracker.start(run)
        except Exception as error:  # whatever a service throws
            self._tracker = None
            raise RemoteError(
                f"tracking.services: {self._service} could not begin the run: {_first_line(error)}.",
                hint=f"set {self._service} up (offline modes need no account), or take it out of tracking.services",
            ) from error
        self._is_started = True
        atomic_write_json(record.run_directory / IDS_FILE, ids)

    def on_step(self, record: StepRecord) -> None:
        """Send the step if it is its turn."""
        if is_logged(record, log_every=self._log_every):
            names = ("loss", "learning_rate", "grad_norm", "tokens_per_second")
            values = {f"train/{name}": getattr(record, name) for name in names}
            values |= {f"train/loss/{task}": loss for task, loss in record.task_losses.items()}
            self._send(values, step=record.step)

    def on_evaluation(self, record: EvaluationRecord) -> None:
        """Send the numbers among the scores."""
        scores = {"score": record.score, **record.metrics}
        numbers = {name: float(value) for name, value in scores.items() if isinstance(value, int | float)}
        self._send({f"evaluation/{name}": value for name, value in numbers.items()}, step=record.step)

    def on_end(self, result: FitResult) -> None:
        """Remember that the run ended in order."""
        self._is_complete = True

    def close(self) -> None:
        """Say how it ended, and wait until all is sent."""
        if self._is_started:
            self._do(lambda tracker: tracker.finish(is_complete=self._is_complete))
        self._tracker = None

    def _send(self, values: Mapping[str, float], *, step: int) -> None:
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        self._do(lambda tracker: tracker.log(finite, step=step))

    def _do(self, action: Callable[[Tracker], None]) -> None:
        if self._tracker is None:
            return
        try:
            action(self._tracker)
        except Exception as error:  # a service that is down does not stop a run
            self._tracker = None
            log_event(
                _LOGGER, "tracker_failed", level=logging.WARNING, service=self._service, reason=_first_line(error)
            )


def build_trackers(
    tracking: TrackingConfig, *, name: str, settings: Mapping[str, Any], log_every: int
) -> tuple[Callback, ...]:
    """Return a callback for each service that a recipe names.

    Raises: MissingExtraError naming the extra of the first package that is not installed.
    """
    require_trackers(tracking.services)
    return tuple(
        Tracking(
            service,
            TRACKERS[service](),
            project=tracking.project,
            name=name,
            settings=settings,
            log_every=log_every,
        )
        for service in tracking.services
    )


def require_trackers(services: Sequence[str]) -> None:
    """Refuse services whose package is not here, before any work is done.

    Raises: MissingExtraError.
    """
    for service in services:
        if find_spec(service) is None:
            raise missing_extra(service, service, needed_for=f"tracking.services: {service}")


def _read_ids(path: Path) -> dict[str, str]:
    try:
        found = read_json(path)
    except FileError:
        return {}
    return found if isinstance(found, dict) else {}


def _flat(settings: Mapping[str, Any], *, prefix: str = "") -> dict[str, Any]:
    """Return nested settings as one level of dotted names."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat |= _flat(value, prefix=f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
