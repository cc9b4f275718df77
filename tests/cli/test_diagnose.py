"""`banyan diagnose`, as typed, on runs that went well and on one that was spoiled."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from banyan.core.config import write_config
from banyan.core.hashing import hash_token_ids
from banyan.train.ramps import shape_at
from banyan.workflows.learning import new_loader
from banyan.workflows.training import TrainingOutcome

Run = Callable[..., Any]


@pytest.fixture
def spoiled(tiny_run: TrainingOutcome, tmp_path: Path) -> Path:
    """A run whose second batch looked wrong."""
    run = tmp_path / "runs" / "spoiled"
    run.mkdir(parents=True)
    write_config(run / "recipe.yaml", tiny_run.recipe)
    (run / "tokenizer").symlink_to((tiny_run.run_directory / "tokenizer").absolute())
    loader, shape = new_loader(tiny_run.recipe, tiny_run.material), shape_at(2, tiny_run.recipe.train)
    loader.next_batch(num_rows=shape.num_rows, seq_len=shape.seq_len)
    place = {**loader.state(), "step": 2}
    batch = loader.next_batch(num_rows=shape.num_rows, seq_len=shape.seq_len)
    ids = [row[held >= 0].tolist() for row, held in zip(batch.token_ids, batch.segment_ids, strict=True)]
    rows = [{"tasks": ["text"], "sha256": hash_token_ids([row])[:16]} for row in ids]
    alarm = {
        "event": "alarm", "step": 2, "signal": "diverged", "where": None, "value": 9.0, "threshold": 6.0,
        "action": "rewound", "recent": [[1, 0.9, 1.0], [2, 3.0, None]], "data": place, "rows": rows,
    }  # fmt: skip
    events = [{"event": "started", "step": 0}, alarm, {"event": "ended", "step": 4, "stopped_by": "completed"}]
    (run / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    return run


def test_a_healthy_run_is_told_so(banyan: Run, tiny_run: TrainingOutcome) -> None:
    ran = banyan("diagnose", tiny_run.run_directory, "--json")
    assert ran.code == 0
    assert set(ran.answer) >= {"state", "summary", "episodes", "samples", "changes"}


def test_a_spoiled_run_is_explained_with_its_samples_a_plot_and_a_recipe_that_runs(banyan: Run, spoiled: Path) -> None:
    ran = banyan("diagnose", "spoiled")
    assert ran.code == 0, ran.err
    for part in ("since step 2", "likely cause", "what to do", "in the batch", "to change: optimizer."):
        assert part in ran.out
    assert (spoiled / "diagnosis.png").read_bytes()[:4] == b"\x89PNG"
    answer = banyan("diagnose", spoiled, "--json").answer
    assert answer["samples_problem"] is None and any(sample["text"] for sample in answer["samples"])
    assert banyan("train", spoiled / "diagnosis.yaml", "train.steps=1", "--quiet").code == 0


def test_what_is_no_run_is_one_line(banyan: Run, tmp_path: Path) -> None:
    ran = banyan("diagnose", "nothing")
    assert ran.code == 3 and "neither a run's folder nor a run" in ran.error
