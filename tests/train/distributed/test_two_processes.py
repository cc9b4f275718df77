"""Two real processes over gloo: every layout learns what one process learns, and states move between layouts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from banyan.testing.processes import started

WORKER = Path(__file__).with_name("worker.py")
LAYOUTS = ["data", "shard", "tensor"]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("ranks")
    place = {"WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(WORKER), str(folder)]
    with ExitStack() as running:
        processes = [
            running.enter_context(
                started(
                    command,
                    env={**os.environ, **place, "RANK": str(rank)},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                )
            )
            for rank in range(2)
        ]
        outputs = [process.communicate(timeout=240)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(outputs)
    answer: dict[str, Any] = json.loads((folder / "found.json").read_text("utf-8"))
    return answer


@pytest.mark.parametrize("variant", ["muon", "adamw", "untied"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_two_ranks_learn_what_one_process_learns(found: dict[str, Any], layout: str, variant: str) -> None:
    assert found["differences"][layout][variant] < 1e-9


@pytest.mark.parametrize(
    "case", ["shard off same", "shard on same", "shard on alone", "tensor on alone", "tensor off alone"]
)
def test_a_saved_run_goes_on_as_if_never_saved_on_as_many_ranks_or_one(found: dict[str, Any], case: str) -> None:
    assert found["resumed"][case] < 1e-9


def test_pieces_on_disk_have_the_names_of_weights_and_of_what_is_remembered_of_them(found: dict[str, Any]) -> None:
    assert {"model/embedding.weight", "model/blocks.0.attention.qkv.parts.2.weight"} <= set(found["names"])
    assert {"optimizer/embedding.weight/exp_avg", "optimizer/blocks.0.feed_forward.down.weight/momentum"} <= set(
        found["names"]
    )


def test_a_loss_that_is_not_finite_on_one_rank_is_skipped_by_all(found: dict[str, Any]) -> None:
    is_applied, are_weights_the_same = found["skipped"]
    assert not is_applied and are_weights_the_same


def test_a_rank_whose_rows_carry_no_loss_takes_part(found: dict[str, Any]) -> None:
    assert found["no targets"] < 1e-9


def test_what_the_main_rank_finds_out_is_known_on_all(found: dict[str, Any]) -> None:
    assert found["shared"] == {"rank": 0, "text": "é", "none": None}


def test_ranks_agree_on_flags_and_numbers(found: dict[str, Any]) -> None:
    assert found["any"] == [True, False, 5]


def test_an_evaluation_that_the_main_rank_stops_ends_the_run_on_all_and_it_is_saved_once(found: dict[str, Any]) -> None:
    assert found["stopped evaluation"] == {"stopped_by": "interrupt", "steps": 2, "saved": [2]}


def test_ranks_that_draw_their_batches_ahead_learn_the_same(found: dict[str, Any]) -> None:
    assert found["learns the same ahead"]
