import math
from typing import Any

import pytest

from banyan.core.errors import ConfigError
from banyan.train.config import TrainConfig
from banyan.train.ramps import StepShape, planned_rows, shape_at

SIZES: dict[str, Any] = {"steps": 30, "micro_batch_seqs": 4, "accumulation_steps": 3, "seq_len": 64}


def shapes(**changes: Any) -> list[StepShape]:
    config = TrainConfig(**{**SIZES, **changes})
    return [shape_at(step, config) for step in range(1, config.steps + 1)]


def test_without_a_ramp_every_step_is_whole() -> None:
    assert set(shapes()) == {StepShape(num_rows=12, seq_len=64, accumulation_steps=3, rate_scale=1.0)}


def test_a_batch_ramp_divides_the_run_into_equal_stretches() -> None:
    found = shapes(batch_ramp=(1 / 3, 2 / 3, 1))
    assert [shape.num_rows for shape in found] == [4] * 10 + [8] * 10 + [12] * 10
    assert [shape.accumulation_steps for shape in found] == [1] * 10 + [2] * 10 + [3] * 10
    assert found[0].rate_scale == pytest.approx(math.sqrt(1 / 3))


def test_shorter_rows_are_more_rows_of_as_many_tokens_in_all() -> None:
    found = shapes(seq_len_ramp=(16, 32, 64))
    assert [shape.seq_len for shape in found] == [16] * 10 + [32] * 10 + [64] * 10
    assert {shape.num_rows * shape.seq_len for shape in found} == {12 * 64}
    assert {shape.accumulation_steps for shape in found} == {3}
    assert {shape.rate_scale for shape in found} == {1.0}


def test_no_micro_batch_holds_more_tokens_than_one_of_a_full_step() -> None:
    for shape in shapes(batch_ramp=(0.1, 0.5, 0.7), seq_len_ramp=(7, 30, 64)):
        assert math.ceil(shape.num_rows / shape.accumulation_steps) * shape.seq_len <= 4 * 64


def test_a_run_shorter_than_its_ramp_ends_with_a_value_of_it() -> None:
    assert [shape.num_rows for shape in shapes(steps=2, batch_ramp=(0.25, 0.5, 1))] == [3, 6]


@pytest.mark.parametrize(
    "bad", [{"batch_ramp": (0.0, 1)}, {"batch_ramp": ()}, {"batch_ramp": (2.0,)}, {"seq_len_ramp": (16, 128)}]
)
def test_ramps_out_of_range_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"train.{next(iter(bad))}"):
        TrainConfig(**{**SIZES, **bad})


def test_the_rows_of_a_run_are_those_of_its_steps() -> None:
    config = TrainConfig(steps=4, micro_batch_seqs=4, seq_len=32, batch_ramp=(0.5, 1.0))
    assert planned_rows(config) == 2 + 2 + 4 + 4
