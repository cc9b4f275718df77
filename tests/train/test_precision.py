from collections.abc import Callable
from typing import Any

import pytest
import torch

from banyan.core.errors import ConfigError
from banyan.testing.training import HEADS, tiny_batch, tiny_learner
from banyan.train.losses import TaskLosses, joint_loss
from banyan.train.precision import choose_precision, device_of, in_precision

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def test_auto_is_float32_on_a_cpu_and_bfloat16_on_a_gpu() -> None:
    assert choose_precision("auto", CPU) == torch.float32
    assert choose_precision("auto", GPU) == torch.bfloat16
    assert choose_precision("float32", GPU) == torch.float32


def test_bfloat16_needs_a_cpu_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    with pytest.raises(ConfigError, match="no instructions for it"):
        choose_precision("bfloat16", CPU)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    assert choose_precision("bfloat16", CPU) == torch.bfloat16


def loss(model: Any, batch: Any) -> TaskLosses:
    return joint_loss(model, batch, task_heads=HEADS)


def test_float32_leaves_the_loss_function_as_it_is() -> None:
    function: Callable[[Any, Any], TaskLosses] = loss
    assert in_precision(function, model=tiny_learner(), precision="auto") is loss


def test_bfloat16_changes_the_products_but_not_the_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    model, batch = tiny_learner(), tiny_batch(seed=1)
    coarse = in_precision(loss, model=model, precision="bfloat16")(model, batch)
    fine = loss(model, batch)
    assert coarse.loss_sums.dtype == torch.float32
    assert not torch.equal(coarse.loss_sums, fine.loss_sums)
    torch.testing.assert_close(coarse.loss_sums, fine.loss_sums, rtol=0.02, atol=0.02)


def test_int8_is_for_the_blocks_and_only_while_the_loss_is_computed() -> None:
    model, batch = tiny_learner(embed_dim=64), tiny_batch(seed=1)
    for parameter in model.blocks.parameters():
        parameter.data.normal_(std=0.1)  # fresh blocks add nothing
    fine = loss(model, batch)
    ids = batch.token_ids
    coarse_loss = in_precision(loss, model=model, precision="int8")
    before = model(ids)
    coarse = coarse_loss(model, batch)
    assert not torch.equal(coarse.loss_sums, fine.loss_sums)
    torch.testing.assert_close(coarse.loss_sums, fine.loss_sums, rtol=0.02, atol=0.02)
    assert torch.equal(model(ids), before)


def test_int8_is_refused_on_a_gpu() -> None:
    with pytest.raises(ConfigError, match="int8 is for CPUs"):
        choose_precision("int8", GPU)


def test_a_models_device_is_that_of_its_weights() -> None:
    assert device_of(tiny_learner()) == CPU
