"""`banyan train --nproc 2`, as typed: one run that is stopped, goes on divided, loses a process, starts anew, ends."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from banyan.testing.processes import started

STEPS = 40


@dataclass(frozen=True, kw_only=True)
class Course:
    """What was seen of the run."""

    code_when_stopped: int
    told_when_stopped: str
    code_at_the_end: int
    summary: dict[str, Any]
    run: Path
    recipe: Path


def write_recipe(folder: Path) -> Path:
    words = ["red", "blue", "green", "grey"]
    rows = [{"text": f"{words[n % 4]} thing {n}", "label": words[n % 4]} for n in range(40)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = {
        "name": "together",
        "model": {"num_layers": 2, "num_heads": 2, "num_kv_heads": 1, "embed_dim": 16, "head_dim": 8, "ffn_dim": 16},
        "tokenizer": {"vocab_size": 260},
        "train": {
            "steps": STEPS, "seq_len": 64, "micro_batch_seqs": 5, "accumulation_steps": 2, "checkpoint_every": 4,
            "evaluate_every": STEPS, "log_every": 1,
        },
        "evaluation": {"max_validation_examples": 4},
        "tasks": [{
            "name": "colour", "kind": "classification",
            "data": {"train": str(folder / "rows.jsonl"), "validation_fraction": 0.1},
        }],
    }  # fmt: skip
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    return path


def losses(run: Path) -> dict[int, float]:
    lines = (run / "metrics.jsonl").read_text().splitlines() if (run / "metrics.jsonl").exists() else []
    found = [json.loads(line) for line in lines if line.endswith("}")]
    return {line["step"]: line["loss"] for line in found if "loss" in line}


def events(run: Path) -> list[str]:
    return [json.loads(line)["event"] for line in (run / "events.jsonl").read_text().splitlines()]


def wait_for(is_true: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 120
    while not is_true():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Course:
    folder = tmp_path_factory.mktemp("together")
    recipe, run = write_recipe(folder), folder / "runs/together"
    places = {"BANYAN_RUNS": str(folder / "runs"), "BANYAN_DATABASE": f"sqlite:///{folder / 'banyan.db'}"}

    def start(*words: str) -> AbstractContextManager[subprocess.Popen[str]]:
        command, environment = [sys.executable, "-m", "banyan", *words], {**os.environ, **places}
        return started(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    with start("train", str(recipe), "--nproc", "2") as first:
        wait_for(lambda: len(losses(run)) >= 5, first)
        first.send_signal(signal.SIGTERM)
        told = first.communicate(timeout=120)[0]
    (typed,) = [line.partition("banyan ")[2] for line in told.splitlines() if "go on with: " in line]
    step = max(losses(run))
    with start(*shlex.split(typed), "parallel.shard=2", "parallel.sharded_checkpoints=on", "--json") as second:
        wait_for(lambda: max(losses(run)) >= step + 3, second)
        psutil.Process(second.pid).children()[-1].kill()
        output = second.communicate(timeout=120)[0]
    return Course(
        code_when_stopped=first.returncode,
        told_when_stopped=told,
        code_at_the_end=second.returncode,
        summary=json.loads(output),
        run=run,
        recipe=recipe,
    )


def test_sigterm_lets_all_ranks_save_and_says_how_to_go_on(course: Course) -> None:
    assert course.code_when_stopped == 143 and "--resume --nproc 2" in course.told_when_stopped


def test_a_run_whose_process_was_killed_starts_anew_and_ends(course: Course) -> None:
    assert course.code_at_the_end == 0
    assert (course.summary["stopped_by"], course.summary["steps"]) == ("completed", STEPS)
    assert "ranks_restarted" in events(course.run)


def test_a_checkpoint_in_pieces_is_a_model_that_answers_too(course: Course, banyan: Callable[..., Any]) -> None:
    last = course.run / "last"
    assert {path.suffix for path in (last / "shards").iterdir()} == {".safetensors"}
    assert banyan("predict", last, "colour", "red thing 3", "--json").code == 0


def test_two_processes_learn_what_one_learns_through_all_of_it(
    course: Course, banyan: Callable[..., Any], tmp_path: Path
) -> None:
    assert banyan("train", course.recipe, "--quiet").code == 0
    alone, together = losses(tmp_path / "runs/together"), losses(course.run)
    assert alone.keys() == together.keys()
    assert all(together[step] == pytest.approx(loss, rel=1e-4) for step, loss in alone.items())


def test_a_recipe_for_another_number_of_processes_is_refused_before_any_starts(
    banyan: Callable[..., Any], tmp_path: Path
) -> None:
    ran = banyan("train", write_recipe(tmp_path), "parallel.shard=3", "--nproc", "2")
    assert ran.code == 2 and "there are 2" in ran.error
