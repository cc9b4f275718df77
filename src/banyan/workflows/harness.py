"""`banyan evaluate --harness`: tasks of lm-evaluation-harness, asked of a Banyan model."""

from __future__ import annotations

import io
import logging
from contextlib import redirect_stderr
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from banyan.core.errors import BanyanError, ConfigError, missing_extra
from banyan.core.files import atomic_write_json
from banyan.runtime.loading import load
from banyan.workflows.reporter import Reporter

RESULTS_FILE = "harness.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class HarnessScore:
    """One score of one task, as the harness computes it."""

    task: str
    metric: str
    value: float
    standard_error: float | None  # the harness's own, by bootstrap where there is no formula; None: it gives none
    num_examples: int
    task_version: str


@dataclass(frozen=True, kw_only=True, slots=True)
class HarnessRun:
    """What a model scored under the harness."""

    model: Path
    harness_version: str
    scores: tuple[HarnessScore, ...]
    results_file: Path | None


def run_harness(
    directory: Path,
    task: str,
    *,
    max_examples: int,
    base: Path | None = None,
    output: Path | None = None,
    reporter: Reporter,
) -> HarnessRun:
    """Ask a model a task of lm-evaluation-harness and return the harness's scores.

    `task` is a task's YAML file, a folder of such files (all of them), or a name the harness knows. A task file can
    hold Python that is run, so it is to be trusted like a program. With `output`, all that the harness says is written
    there.
    Raises: MissingExtraError if the harness is not installed; ConfigError for a task it cannot use; as `load`.
    """
    try:
        from lm_eval import simple_evaluate  # an extra
        from lm_eval.tasks import TaskManager

        from banyan.workflows.harness_model import BanyanLM
    except ImportError as error:
        raise missing_extra("lm_eval", "lm-eval", needed_for="--harness") from error
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    place = Path(task)
    manager = TaskManager(include_path=place if place.is_dir() else None, include_defaults=not place.exists())
    names = list(manager.all_subtasks) if place.is_dir() else [task]
    if not names:
        raise ConfigError(f"--harness={task} is a folder without tasks; a task is a YAML file with a `task:` key.")
    reporter.stage("load")
    with load(directory, base=base) as model:
        reporter.stage("ask")
        try:
            with redirect_stderr(io.StringIO()):  # the harness draws progress bars, whoever listens
                found = simple_evaluate(
                    model=BanyanLM(model),
                    tasks=names,
                    task_manager=manager,
                    limit=max_examples,
                    log_samples=output is not None,
                )
        except BanyanError:
            raise
        except Exception as error:  # whatever a task's own file does wrong
            raise _task_error(task, error) from error
    if output is not None:
        atomic_write_json(output / RESULTS_FILE, _jsonable(found))
    return HarnessRun(
        model=directory,
        harness_version=version("lm_eval"),
        scores=tuple(_scores(found)),
        results_file=None if output is None else output / RESULTS_FILE,
    )


def _task_error(task: str, error: Exception) -> ConfigError:
    return ConfigError(
        f"lm-evaluation-harness cannot use the task {task}: {type(error).__name__}: {error}",
        hint="a YAML file, a folder of them, or a name; its own data sets need a network",
    )


def _scores(found: dict[str, Any]) -> list[HarnessScore]:
    return [
        HarnessScore(
            task=task,
            metric=metric,
            value=float(value),
            standard_error=_number(results.get(_error_name(metric))),
            num_examples=int(found["n-samples"][task]["effective"]),
            task_version=str(found["versions"].get(task)),
        )
        for task, results in found["results"].items()
        for metric, value in results.items()
        if "," in metric and "_stderr" not in metric and _number(value) is not None and task in found["n-samples"]
    ]


def _error_name(metric: str) -> str:
    """Return what the harness calls the error of `acc,none`: `acc_stderr,none`."""
    name, _, filtered = metric.partition(",")
    return f"{name}_stderr,{filtered}"


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _jsonable(value: Any) -> Any:
    """Return the harness's results without what JSON cannot hold (functions of a task become their names)."""
    if isinstance(value, dict):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
