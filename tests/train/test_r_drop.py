import dataclasses

import pytest
import torch

from banyan.data.batch import Batch
from banyan.model.transformer import Transformer
from banyan.testing.models import tiny_model, tiny_model_config
from banyan.testing.training import HEADS, TASKS, tiny_batch
from banyan.train.losses import joint_loss, trunk_states
from banyan.train.r_drop import r_drop_loss

STRENGTH = 0.7


def learner(dropout: float) -> Transformer:
    heads = [head for head in HEADS if head is not None]
    return tiny_model(tiny_model_config(dropout=dropout), heads=heads, std=0.3).train()


@torch.no_grad()
def divergence_by_hand(model: Transformer, batch: Batch) -> torch.Tensor:
    """Two passes, then position by position and choice by choice in float64."""
    other = dataclasses.replace(batch, noise_seeds=batch.noise_seeds + 1)
    passes = [trunk_states(model, rows, placed=rows) for rows in (batch, other)]
    sums = torch.zeros(len(TASKS), dtype=torch.float64)
    for row, t in (batch.loss_weights > 0).nonzero().tolist():
        task = int(batch.task_ids[row, t])
        head = HEADS[task]
        if head is None:
            pairs = [[model.logits(hidden[row, t]).double().log_softmax(0) for hidden in passes]]
        elif head.name == "labels":
            pairs = [[model.head_logits("labels", hidden[row, t]).double().log_softmax(0) for hidden in passes]]
        elif int(batch.targets[row, t]) & 1:  # once for each example: its start stands here
            own = (batch.segment_ids[row] == batch.segment_ids[row, t]).nonzero().squeeze(1)
            found = [model.head_logits("spans", hidden[row, own]).double().log_softmax(0) for hidden in passes]
            pairs = [[log_probs[:, side] for log_probs in found] for side in (0, 1)]
        else:
            pairs = []
        for p, q in pairs:
            kl = sum(float(p[i].exp() * (p[i] - q[i]) + q[i].exp() * (q[i] - p[i])) for i in range(len(p)))
            sums[task] += float(batch.loss_weights[row, t]) * kl / 2
    return sums


def test_the_loss_is_that_of_both_passes_and_their_divergence_as_in_a_float64_loop() -> None:
    model, batch = learner(0.2), tiny_batch()
    found = r_drop_loss(model, batch, task_heads=HEADS, strength=STRENGTH)
    other = dataclasses.replace(batch, noise_seeds=batch.noise_seeds + 1)
    alone = [joint_loss(model, rows, task_heads=HEADS) for rows in (batch, other)]
    apart = divergence_by_hand(model, batch)
    assert apart.min() > 0
    expected = (alone[0].loss_sums + alone[1].loss_sums).double() / 2 + STRENGTH * apart
    torch.testing.assert_close(found.loss_sums.double(), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.weight_sums, alone[0].weight_sums)


def test_without_noise_both_passes_are_one_and_the_loss_is_as_ever() -> None:
    model, batch = learner(0.0), tiny_batch()
    found = r_drop_loss(model, batch, task_heads=HEADS, strength=STRENGTH)
    torch.testing.assert_close(found.loss_sums, joint_loss(model, batch, task_heads=HEADS).loss_sums)


@pytest.mark.parametrize("name", ["embedding.weight", "heads.layers.1.weight"])
def test_gradients_are_those_of_small_steps(name: str) -> None:
    model, batch = learner(0.2).double(), tiny_batch()
    weight = dict(model.named_parameters())[name]

    def total() -> torch.Tensor:
        return r_drop_loss(model, batch, task_heads=HEADS, strength=STRENGTH).loss_sums.sum()

    total().backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None
    place = int(weight.grad.abs().argmax())
    flat, step = weight.data.flatten(), 1e-5
    assert flat.data_ptr() == weight.data_ptr()
    with torch.no_grad():
        flat[place] += step
        higher = total()
        flat[place] -= 2 * step
        lower = total()
    assert float((higher - lower) / (2 * step)) == pytest.approx(float(weight.grad.flatten()[place]), rel=1e-4)
