"""What every run leaves in its directory: metrics.jsonl, events.jsonl and TensorBoard files."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from banyan.core.files import atomic_write_text
from banyan.core.run_directory import METRICS_FILE as METRICS_FILE
from banyan.train.callbacks import (
    Callback,
    CheckpointRecord,
    EvaluationRecord,
    EventRecord,
    FitResult,
    RunStart,
    StepRecord,
)

EVENTS_FILE = "events.jsonl"
TENSORBOARD_DIRECTORY = "tensorboard"


def is_logged(record: StepRecord, *, log_every: int) -> bool:
    """Whether a step is written down: the first, the last, and every `log_every`-th."""
    return record.step % log_every == 0 or record.step in (1, record.num_steps)


def append_json_line(path: Path, value: Mapping[str, Any]) -> None:
    """Append one JSON object as a line. A log that cannot be written does not stop a run."""
    line = json.dumps(_without_nan(value), ensure_ascii=False, default=str) + "\n"
    with suppress(OSError), path.open("a", encoding="utf-8") as file:
        file.write(line)


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a JSON-lines file; lines that a crash left incomplete are left out."""
    found = []
    # Not `splitlines`: a text inside a line may hold U+2028, which JSON does not escape.
    for line in path.read_text("utf-8", errors="replace").split("\n") if path.is_file() else []:
        with suppress(json.JSONDecodeError):
            found.append(json.loads(line))
    return found


def _without_nan(value: Any) -> Any:
    """Replace what JSON cannot say by null."""
    if isinstance(value, Mapping):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class MetricsFile(Callback):
    """metrics.jsonl: one line per logged step; a resumed run continues it without a seam."""

    def __init__(self, run_directory: Path, *, log_every: int) -> None:
        self.path = run_directory / METRICS_FILE
        self._log_every = log_every
        self._num_tokens, self._seconds = 0, 0.0  # since the line before

    def on_start(self, record: RunStart) -> None:
        """Drop the lines of steps that will be done again."""
        self._drop_after(record.step)

    def on_event(self, record: EventRecord) -> None:
        """Drop them too where the run goes back; the event itself holds what was seen."""
        if record.kind == "rewound":
            self._drop_after(record.step)

    def on_step(self, record: StepRecord) -> None:
        """Write the step down if it is its turn."""
        self._num_tokens += record.num_tokens
        self._seconds += record.num_tokens / record.tokens_per_second
        if not is_logged(record, log_every=self._log_every) and record.task_cosines is None:
            return
        line: dict[str, Any] = {
            "step": record.step,
            "loss": record.loss,
            "task_losses": dict(record.task_losses),
            "learning_rate": record.learning_rate,
            "grad_norm": record.grad_norm,
            "tokens_per_second": round(self._num_tokens / self._seconds, 1),
            "seconds": round(record.seconds, 3),
        }
        if record.task_cosines is not None:
            line["task_cosines"] = dict(record.task_cosines)
        append_json_line(self.path, line)
        self._num_tokens, self._seconds = 0, 0.0

    def _drop_after(self, step: int) -> None:
        kept = [line for line in read_json_lines(self.path) if line["step"] <= step]
        atomic_write_text(self.path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept))


class EventsFile(Callback):
    """events.jsonl: what happened beside the steps, and when; kept over resumes."""

    def __init__(self, run_directory: Path) -> None:
        self.path = run_directory / EVENTS_FILE

    def on_event(self, record: EventRecord) -> None:
        """Write the event down."""
        self._write(record.step, record.kind, record.detail)

    def on_evaluation(self, record: EvaluationRecord) -> None:
        """Write the scores down."""
        detail = {
            "score": record.score,
            "is_best": record.is_best,
            "seconds": round(record.seconds, 3),
            "metrics": dict(record.metrics),
        }
        self._write(record.step, "evaluated", detail)

    def on_checkpoint(self, record: CheckpointRecord) -> None:
        """Write down which checkpoint was saved."""
        detail = {"path": str(record.path), "size_bytes": record.size_bytes, "seconds": round(record.seconds, 3)}
        self._write(record.step, "checkpoint_saved", detail)

    def on_end(self, result: FitResult) -> None:
        """Write down how the run ended."""
        self._write(result.steps, "ended", {"stopped_by": result.stopped_by, "best_step": result.best_step})

    def _write(self, step: int, kind: str, detail: Mapping[str, Any]) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        append_json_line(self.path, {"time": now, "step": step, "event": kind, **detail})


class TensorBoard(Callback):
    """The same numbers as TensorBoard scalars."""

    def __init__(self, run_directory: Path, *, log_every: int) -> None:
        self._directory = run_directory / TENSORBOARD_DIRECTORY
        self._log_every = log_every
        self._writer: Any = None

    def on_start(self, record: RunStart) -> None:
        """Open a file; what an earlier one says of later steps is no longer shown."""
        from tensorboardX import SummaryWriter  # here, for it takes a second to import

        self._writer = SummaryWriter(str(self._directory), purge_step=record.step + 1)

    def on_step(self, record: StepRecord) -> None:
        """Add the step if it is its turn."""
        if is_logged(record, log_every=self._log_every):
            names = ("loss", "learning_rate", "grad_norm", "tokens_per_second")
            losses = {f"loss/{task}": loss for task, loss in record.task_losses.items()}
            self._add({**{name: getattr(record, name) for name in names}, **losses}, prefix="train", step=record.step)

    def on_evaluation(self, record: EvaluationRecord) -> None:
        """Add the numbers among the scores."""
        self._add({"score": record.score, **record.metrics}, prefix="evaluation", step=record.step)

    def close(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()

    def _add(self, values: Mapping[str, Any], *, prefix: str, step: int) -> None:
        for name, value in values.items():
            if isinstance(value, Mapping):
                self._add(value, prefix=f"{prefix}/{name}", step=step)
            elif isinstance(value, int | float) and self._writer is not None:
                with suppress(OSError):  # a full disk does not stop a run
                    self._writer.add_scalar(f"{prefix}/{name}", value, step)
