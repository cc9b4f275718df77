from functools import partial

import pytest
import torch

from banyan.data.batch import Batch
from banyan.model.transformer import Transformer
from banyan.testing.training import HEADS, tiny_batch, tiny_learner
from banyan.train import tied_table as module
from banyan.train.losses import joint_loss
from banyan.train.tied_table import head_apart, tied_table, with_head_apart

LOSS = partial(joint_loss, task_heads=HEADS)


def learner(*, is_tied: bool = True) -> Transformer:
    return tiny_learner(tie_embeddings=is_tied, position="learned").double()


def gradients(model: Transformer, batches: list[Batch], *, is_apart: bool) -> dict[str, torch.Tensor]:
    loss = with_head_apart(LOSS, model=model) if is_apart else LOSS
    for batch in batches:
        loss(model, batch).loss_sums.sum().backward()  # type: ignore[no-untyped-call]
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


@pytest.fixture(autouse=True)
def every_table_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MIN_NUMBERS", 0)


@pytest.mark.parametrize("tasks", [("words",), ("words", "labels", "spans"), ("labels",)], ids="-".join)
@pytest.mark.parametrize("num_batches", [1, 3], ids=["once", "accumulated"])
def test_gradients_are_those_of_the_table_used_twice(tasks: tuple[str, ...], num_batches: int) -> None:
    batches = [tiny_batch(seed=seed, tasks=tasks) for seed in range(num_batches)]
    ours, theirs = (gradients(learner(), batches, is_apart=is_apart) for is_apart in (True, False))
    assert ours.keys() == theirs.keys()
    for name, gradient in ours.items():
        assert not gradient.is_sparse
        torch.testing.assert_close(gradient, theirs[name])


def test_the_head_takes_its_table_back() -> None:
    model = learner()
    with head_apart(model, take=lambda table, gradient: None):
        assert model.output_weight() is not model.embedding.weight
        assert model.output_weight().data_ptr() == model.embedding.weight.data_ptr()
    assert model.output_weight() is model.embedding.weight


def test_what_is_not_tied_or_does_not_learn_is_left_alone() -> None:
    assert with_head_apart(LOSS, model=learner(is_tied=False)) is LOSS
    frozen = learner().requires_grad_(False)
    assert tied_table(frozen) is None
    assert tied_table(torch.nn.Linear(2, 2)) is None


def test_a_small_table_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MIN_NUMBERS", 1 << 22)
    assert with_head_apart(LOSS, model=learner()) is LOSS
