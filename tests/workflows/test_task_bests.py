"""Each task keeps the checkpoint at which it scored best, however the others did."""

import json
import math
from pathlib import Path

from banyan.core.model_directory import verify_manifest
from banyan.runtime.loading import load
from banyan.tasks.classification import Classification
from banyan.testing.transfer_runs import TransferRuns
from banyan.train.callbacks import CheckpointRecord, EvaluationRecord, RunStart
from banyan.workflows.task_bests import TaskBests, read_task_bests

_MODEL = {"num_layers": 1, "num_heads": 2, "num_kv_heads": 1, "embed_dim": 16, "head_dim": 8, "ffn_dim": 32}


def test_every_task_has_the_checkpoint_that_scored_best(transfer_runs: TransferRuns) -> None:
    outcome = transfer_runs.run(
        "bests",
        [transfer_runs.task("film"), transfer_runs.task("text", "language_modeling")],
        model=_MODEL,
        train={"steps": 4, "evaluate_every": 1, "keep_checkpoints": 1},
        evaluation={"keep_task_bests": True, "max_validation_examples": 12},
    )
    run = outcome.run_directory
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    scored = {event["step"]: event["metrics"] for event in events if event["event"] == "evaluated"}
    assert list(scored) == [1, 2, 3, 4]
    bests = read_task_bests(run)
    assert bests["film"].score == max(metrics["film/accuracy"] for metrics in scored.values())
    assert bests["text"].score == min(metrics["text/bits_per_byte"] for metrics in scored.values())
    for name, best in bests.items():
        assert scored[best.step][f"{name}/{best.metric}"] == best.score
        assert not (run / "best_of" / name / "state.json").exists()
        with load(run / "best_of" / name) as model:
            assert list(model.tasks) == ["film", "text"]


def test_a_resumed_run_knows_what_was_kept_and_keeps_only_what_is_better(tmp_path: Path) -> None:
    tasks = [Classification(name="film", labels=("neg", "pos"), metric="macro_f1")]  # in place of the accuracy
    checkpoint = tmp_path / "checkpoints/step-00000001"
    checkpoint.mkdir(parents=True)
    (checkpoint / "weights").write_text("first")

    def told(step: int, f1: float, *, resumed_at: int = 0) -> None:
        bests = TaskBests(tmp_path, tasks)
        bests.on_start(RunStart(step=resumed_at, num_steps=9, task_names=("film",), run_directory=tmp_path))
        metrics = {"film/macro_f1": f1, "film/accuracy": 1 - f1}
        bests.on_evaluation(EvaluationRecord(step=step, score=0.0, metrics=metrics, is_best=False, seconds=0.0))
        (checkpoint / "weights").unlink()
        (checkpoint / "weights").write_text(str(step))
        record = CheckpointRecord(step=step, path=checkpoint, size_bytes=1, is_best=False, seconds=0.0)
        bests.on_checkpoint(record)

    for step, f1 in ((1, math.nan), (2, 0.4), (3, 0.6), (4, 0.5)):
        told(step, f1, resumed_at=step - 1)
    best = read_task_bests(tmp_path)["film"]
    assert (best.step, best.metric) == (3, "macro_f1")
    assert (tmp_path / "best_of/film/weights").read_text() == "3"
    verify_manifest(tmp_path / "best_of/film")
