import logging
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.nn.attention import flex_attention

from banyan.data.batch import Batch, collate
from banyan.model.blockwise import BLOCK
from banyan.model.masks import attention_mask
from banyan.model.transformer import Transformer
from banyan.testing.models import tiny_model, tiny_model_config
from banyan.testing.training import tiny_sequence
from banyan.train import attention_kernel as module
from banyan.train.attention_kernel import attends_blockwise, kernel_problem, with_blockwise_attention
from banyan.train.compilation import with_blocks
from banyan.train.config import TrainConfig
from banyan.train.losses import TaskLosses, joint_loss

SEQ_LEN = BLOCK + 12
CPU = torch.device("cpu")
# Tracing looks at gradients that are not there, and hides the warning in a way that makes no difference to an error.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")


@pytest.fixture
def traced(eager_backend: list[int]) -> Iterator[list[int]]:
    """The graphs that were traced, by a process that has not looked at any kernel yet."""
    kernel_problem.cache_clear()
    yield eager_backend
    kernel_problem.cache_clear()
    torch._dynamo.reset()


@pytest.fixture
def gradients_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch generates no code for them and so refuses them; as its operation is written, it has them."""
    monkeypatch.setattr(flex_attention, "_validate_device", lambda *tensors: None)


def learner(**sizes: Any) -> Transformer:
    return tiny_model(tiny_model_config(max_seq_len=SEQ_LEN, num_heads=4, num_kv_heads=2, **sizes), std=0.3).train()


def packed_batch(*, seed: int, kind: str = "words") -> Batch:
    rows = [[tiny_sequence(kind, 10 * seed + row + i, length=40 + 5 * row + i) for i in range(2)] for row in range(2)]
    return collate(rows, seq_len=SEQ_LEN, pad_id=0, task_names=("words",))


def loss(model: Any, batch: Any) -> TaskLosses:
    return joint_loss(model, batch, task_heads=(None,))


@pytest.mark.usefixtures("gradients_on_a_cpu")
@pytest.mark.parametrize(("window", "dtype", "apart"), [(None, torch.float32, 1e-5), (24, torch.bfloat16, 0.03)])
def test_a_run_by_the_block_has_the_losses_and_gradients_of_one_with_a_mask(
    window: int | None, dtype: torch.dtype, apart: float, traced: list[int]
) -> None:
    model = learner(sliding_window=window)
    by_block = with_blocks(with_blockwise_attention(loss), model=model, is_compiled=True)
    for seed in (1, 2):
        results = []
        for function in (loss, by_block):
            with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
                found = function(model, packed_batch(seed=seed)).loss_sums
            results.append((found.detach(), *torch.autograd.grad(found.sum(), list(model.blocks.parameters()))))
        for masked, blockwise in zip(*results, strict=True):
            assert (blockwise - masked).norm() <= apart * masked.norm()
    assert len(traced) == 1  # all layers and both batches share one graph
    assert not model.planner.is_blockwise


def test_rows_that_are_plainly_causal_are_not_planned_by_the_block() -> None:
    planner, ids = learner().planner, torch.zeros(2, SEQ_LEN, dtype=torch.int64)
    until = torch.arange(SEQ_LEN).expand(2, -1)
    planner.is_blockwise = True
    plans = [planner.plan(ids, None, ids, until, dtype=torch.float32, is_causal=known)[1] for known in (True, False)]
    assert plans[0].mask is None and plans[0].blocks is None
    assert plans[1].mask is None and plans[1].blocks is not None


@pytest.mark.usefixtures("gradients_on_a_cpu")
def test_a_kernel_that_agrees_with_a_mask_is_no_problem_and_one_that_does_not_is_named(
    traced: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kernel_problem(2, 1, 16, device=CPU) is None
    kernel_problem.cache_clear()
    monkeypatch.setattr(module, "attention_mask", lambda **given: attention_mask(**given, sliding_window=5))
    assert "from those with a mask" in str(kernel_problem(2, 1, 16, device=CPU))


@pytest.mark.usefixtures("traced")
def test_a_device_without_such_a_kernel_is_a_reason_and_no_error() -> None:
    assert "does not support backward on CPU" in str(kernel_problem(2, 2, 16, device=CPU))


def test_on_a_cpu_nothing_is_tried_and_masks_stay(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert not attends_blockwise(learner(), TrainConfig(steps=1, seq_len=SEQ_LEN))
    assert not caplog.records
