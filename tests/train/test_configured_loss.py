import logging
from functools import partial
from typing import Any

import pytest

from banyan.testing.training import HEADS, SEQ_LEN, tiny_learner
from banyan.train import compilation
from banyan.train import configured_loss as module
from banyan.train.config import TrainConfig
from banyan.train.configured_loss import configured_loss, run_flops
from banyan.train.losses import joint_loss

LOSS = partial(joint_loss, task_heads=HEADS)


def config(**changes: Any) -> TrainConfig:
    return TrainConfig(**{"steps": 10, "micro_batch_seqs": 2, "seq_len": SEQ_LEN, **changes})


def test_a_short_run_in_float32_computes_its_loss_as_written() -> None:
    assert configured_loss(LOSS, model=tiny_learner(), config=config()) is LOSS


def test_a_missing_compiler_is_one_line_of_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "compiler_problem", lambda: "no compiler")
    with caplog.at_level(logging.WARNING):
        assert configured_loss(LOSS, model=tiny_learner(), config=config(compile=True)) is LOSS
    assert [record.getMessage() for record in caplog.records] == ["compile=false reason='no compiler'"]


def test_several_processes_do_not_compile() -> None:
    assert configured_loss(LOSS, model=tiny_learner(), config=config(compile=True), world_size=2) is LOSS


@pytest.mark.parametrize(("precision", "is_asked_for"), [("float32", False), ("int8", True)])
def test_a_wide_model_is_compiled_where_its_products_are_faster_than_float32(
    precision: Any, is_asked_for: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(compilation, "MAX_WIDTH_ON_CPU", 1)
    monkeypatch.setattr(module, "compiler_problem", lambda: asked.append(True) or "no compiler")
    configured_loss(LOSS, model=tiny_learner(), config=config(steps=10**12, precision=precision))
    assert bool(asked) == is_asked_for


def test_the_arithmetic_of_a_run_grows_with_its_steps() -> None:
    model = tiny_learner()
    assert run_flops(model, config(steps=20)) == 2 * run_flops(model, config())
