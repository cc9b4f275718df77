"""A run on a CPU learns in int8 where that pays, and is told why where it does not; what is measured is given here."""

from typing import Any

import pytest
import torch

from banyan.model.transformer import Transformer
from banyan.testing.models import tiny_model_config
from banyan.train.auto_precision import (
    MIN_GAIN,
    MIN_INT8_WIDTH,
    MIN_MINUTES,
    PrecisionChoice,
    ProbedProduct,
    choose_on_cpu,
    int8_speed_up,
)
from banyan.train.balance_config import BalanceConfig
from banyan.train.config import TrainConfig

LONG, SHORT = 10**9, 10  # steps


def choice(
    *,
    width: int = MIN_INT8_WIDTH,
    is_fresh: bool = True,
    minutes: float | None = None,
    world_size: int = 1,
    gain: float | None = 2.0,
    problem: str | None = None,
    **train: Any,
) -> PrecisionChoice:
    """Return what is chosen where a probe finds this gain; None: nothing may be measured."""

    def speed_up(probed: ProbedProduct) -> float:
        assert gain is not None, "this was settled before"
        assert (probed.num_inputs, probed.num_rows) == (width, 2 * 16)
        return gain

    with torch.device("meta"):
        model = Transformer(tiny_model_config(embed_dim=width, num_layers=1))
    return choose_on_cpu(
        model,
        TrainConfig(**{"steps": LONG, "micro_batch_seqs": 2, "seq_len": 16, **train}),
        is_fresh=is_fresh,
        minutes=minutes,
        world_size=world_size,
        speed_up=speed_up,
        find_problem=lambda: problem,
    )


def test_a_long_run_of_a_wide_fresh_model_learns_in_int8() -> None:
    assert choice() == PrecisionChoice(precision="int8", reason="2.0 times as fast as float32 here")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"is_fresh": False}, "learned before"),
        ({"width": 128}, "the model is 128 wide"),
        ({"world_size": 2}, "several processes"),
        ({"balance": BalanceConfig(method="db_mtl")}, "db_mtl"),
        ({"compile": False}, "compile=false"),
        ({"steps": SHORT}, "too short"),
        ({"minutes": 0.9 * MIN_MINUTES}, "too short"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_speaks_against_int8_is_known_before_anything_is_measured(changes: dict[str, Any], reason: str) -> None:
    found = choice(**changes, gain=None)
    assert found.precision == "float32" and reason in found.reason


@pytest.mark.parametrize(
    "measured", [{"gain": 0.9 * MIN_GAIN}, {"gain": 0.0}, {"problem": "no compiler"}], ids=["slow", "emulated", "alone"]
)
def test_where_int8_is_slow_or_nothing_can_be_compiled_a_run_learns_in_float32(measured: dict[str, Any]) -> None:
    assert choice(**measured).precision == "float32"


@pytest.mark.parametrize("changes", [{"minutes": MIN_MINUTES, "steps": SHORT}, {"compile": True, "steps": SHORT}])
def test_minutes_and_a_wish_to_compile_count_before_steps(changes: dict[str, Any]) -> None:
    assert choice(**changes).precision == "int8"


def test_the_probe_asks_once_and_cuts_what_is_large() -> None:
    probed = ProbedProduct(num_rows=10**9, num_inputs=64, num_outputs=10**9, products="torch")
    assert int8_speed_up(probed) == int8_speed_up(probed) >= 0
