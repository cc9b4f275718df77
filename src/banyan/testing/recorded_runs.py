"""A training run as it lies in the database and in its folder, without a training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from banyan.core.run_directory import METRICS_FILE, RUN_FILE
from banyan.core.types import Image
from banyan.store.sql_store import SqlStore
from banyan.store.types import StoredRun
from banyan.workflows.samples import Sample, SampleBook

TASKS = ("novels", "榕树")


def loss_line(step: int) -> str:
    """Return one line of metrics.jsonl."""
    losses = {name: 4.0 + place - 0.01 * step for place, name in enumerate(TASKS)}
    facts = {"learning_rate": 1e-3, "grad_norm": None, "tokens_per_second": 512.5, "seconds": step / 10}
    return json.dumps({"step": step, "loss": 1 - step / 1000, "task_losses": losses, **facts}) + "\n"


def add_losses(folder: Path, steps: Sequence[int]) -> None:
    """Let a run log further steps."""
    with (folder / METRICS_FILE).open("a", encoding="utf-8") as file:
        file.write("".join(map(loss_line, steps)))


def record_tiny_run(store: SqlStore, folder: Path, *, name: str = "grove", num_steps: int = 40) -> str:
    """Record a run that has done half of its steps and goes on, and return its id."""
    folder.mkdir(parents=True)
    run = StoredRun(name=name, kind="train", config={"train": {"steps": num_steps}}, directory=str(folder), seed=7)
    store.runs.record_run(run).result(10)
    (folder / RUN_FILE).write_text(json.dumps({"run_id": run.run_id}), "utf-8")
    add_losses(folder, range(1, num_steps // 2 + 1))
    for step in (10, 20):
        store.runs.record_metric(run.run_id, step=step, name="score", value=step / 100).result(10)
        store.runs.record_metric(run.run_id, step=step, name="novels/perplexity", value=900.0 - step).result(10)
    store.runs.record_event(run.run_id, kind="started", step=0).result(10)
    detail = {"signal": "slow_step", "value": 2.5, "threshold": 1.5, "action": "reported", "recent": [[1, 2.0, 3.0]]}
    store.runs.record_event(run.run_id, kind="alarm", step=12, detail=detail).result(10)
    picture = Image(width=2, height=2, channels=1, pixels=bytes((0, 255, 255, 0)))
    book = SampleBook(folder, tell=lambda _: None)
    book(10, [Sample(task="novels", prompt="The old", answer="house")])
    drawn = Sample(task="draw", prompt="a seven", answer="", image=picture)
    book(20, [Sample(task="novels", prompt="The old", answer="<b>tree</b>\n## stood", reference="榕树"), drawn])
    return run.run_id
