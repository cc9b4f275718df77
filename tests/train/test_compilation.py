from typing import Any

import pytest
import torch

from banyan.core.types import HeadSpec
from banyan.testing.training import HEADS, tiny_batch, tiny_learner
from banyan.train import compilation
from banyan.train.compilation import MIN_RUN_FLOPS, compiler_problem, is_worth_compiling, with_blocks
from banyan.train.losses import TaskLosses, joint_loss

# Tracing looks at gradients that are not there, and hides the warning in a way that makes no difference to an error.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")


def loss(model: Any, batch: Any) -> TaskLosses:
    heads: tuple[HeadSpec | None, ...] = HEADS
    return joint_loss(model, batch, task_heads=heads)


def test_all_blocks_share_their_code_and_a_new_batch_needs_none(eager_backend: list[int]) -> None:
    model = tiny_learner()
    compiled = with_blocks(loss, model=model, is_compiled=True)
    first = compiled(model, tiny_batch(seed=1))
    num_graphs = len(eager_backend)
    torch.testing.assert_close(first.loss_sums, loss(model, tiny_batch(seed=1)).loss_sums)
    assert len(model.blocks) > 1
    assert num_graphs == 1
    batch = tiny_batch(seed=2)
    batch.loss_weights[0, :3] = 0  # another number of positions that carry loss
    compiled(model, batch)
    assert len(eager_backend) == num_graphs


def test_outside_of_the_loss_the_model_is_as_it_was(eager_backend: list[int]) -> None:
    model = tiny_learner()
    with_blocks(loss, model=model, is_compiled=True)(model, tiny_batch(seed=1))
    num_graphs = len(eager_backend)
    model(tiny_batch(seed=1, num_rows=3).token_ids)
    assert len(eager_backend) == num_graphs
    assert all("forward" not in vars(block) for block in model.blocks)


@pytest.mark.parametrize("dropout", [0.0, 0.3], ids=["no dropout", "dropout"])
def test_lean_blocks_keep_less_and_give_the_same_loss_and_gradients(dropout: float) -> None:
    model, batch = tiny_learner(dropout=dropout), tiny_batch(seed=1)
    results, num_kept = [], []
    for function in (loss, with_blocks(loss, model=model, is_lean=True)):
        kept: list[int] = []

        def count(tensor: torch.Tensor, kept: list[int] = kept) -> torch.Tensor:
            kept.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            losses = function(model, batch).loss_sums
        results.append((losses, *torch.autograd.grad(losses.sum(), list(model.blocks.parameters()))))
        num_kept.append(sum(kept))
    for plain, lean in zip(*results, strict=True):
        assert torch.equal(plain, lean)
    assert num_kept[1] < num_kept[0] / 2


def test_a_model_without_blocks_is_left_alone() -> None:
    assert with_blocks(loss, model=torch.nn.Linear(2, 2), is_compiled=True) is loss


@pytest.mark.parametrize(
    ("choice", "run_flops", "expected"),
    [(True, 1.0, True), (False, 1e20, False), ("auto", 0.9 * MIN_RUN_FLOPS, False), ("auto", MIN_RUN_FLOPS, True)],
)
def test_a_run_is_compiled_where_it_says_so_or_is_long(choice: Any, run_flops: float, expected: bool) -> None:
    assert is_worth_compiling(choice, run_flops=run_flops) == expected


@pytest.mark.parametrize(("choice", "expected"), [("auto", False), (True, True)])
def test_a_wide_float32_model_on_a_cpu_is_compiled_only_where_a_recipe_says_so(choice: Any, expected: bool) -> None:
    assert is_worth_compiling(choice, run_flops=1e20, float32_width=768) == expected


@pytest.mark.parametrize(("choice", "expected"), [("auto", True), (False, False)])
def test_a_run_in_int8_is_compiled_however_short_it_is(choice: Any, expected: bool) -> None:
    assert is_worth_compiling(choice, run_flops=1.0, is_int8=True) == expected


def test_a_missing_compiler_is_a_reason_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_compiler(*arguments: Any, **options: Any) -> Any:
        raise RuntimeError("No working C++ compiler found\nand more")

    compiler_problem.cache_clear()
    monkeypatch.setattr(compilation.torch, "compile", no_compiler)
    assert compiler_problem() == "No working C++ compiler found"
    compiler_problem.cache_clear()
