from functools import partial

import pytest
import torch

from banyan.data.batch import collate
from banyan.model.transformer import Transformer
from banyan.testing.training import HEADS, SEQ_LEN, TASKS, tiny_learner, tiny_sequence
from banyan.train.balance import default_balance
from banyan.train.checks import BY_HEART_NATS, LearnedByHeart, first_leak, learn_by_heart, peak_bytes
from banyan.train.losses import joint_loss
from banyan.train.optimizer import OptimizerConfig

SEQUENCES = [tiny_sequence(task, number, length=7) for number, task in enumerate(TASKS)]


def by_heart(model: Transformer, *, max_steps: int = 200, rate: float = 0.01) -> LearnedByHeart:
    batch = collate([[sequence] for sequence in SEQUENCES], seq_len=SEQ_LEN, pad_id=0, task_names=TASKS)
    return learn_by_heart(
        model,
        batch,
        loss_function=partial(joint_loss, task_heads=HEADS),
        balance=default_balance(model, HEADS),
        optimizer=OptimizerConfig(name="adamw", learning_rate=rate),
        max_steps=max_steps,
    )


def test_a_sound_model_learns_one_batch_by_heart_and_stays_as_it_was() -> None:
    model = tiny_learner(dropout=0.3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    learned = by_heart(model)
    assert max(learned.task_losses) < BY_HEART_NATS and learned.num_steps < 200 and learned.bad_gradients == ()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_a_rate_near_zero_learns_nothing() -> None:
    learned = by_heart(tiny_learner(), max_steps=10, rate=1e-8)
    assert min(learned.task_losses) > BY_HEART_NATS


def test_a_weight_that_no_gradient_reaches_is_named() -> None:
    model = tiny_learner()
    model.blocks[1].attention.register_forward_hook(lambda m, given, out: out.detach())  # type: ignore[operator, union-attr]
    bad = by_heart(model, max_steps=5).bad_gradients
    assert "blocks.1.attention.qkv.weight" in bad and "blocks.0.attention.qkv.weight" not in bad


def test_no_position_of_a_sound_model_sees_what_it_must_not() -> None:
    assert first_leak(tiny_learner(), SEQUENCES, seq_len=SEQ_LEN, pad_id=0) is None


@pytest.mark.parametrize("leak", ["later", "other"])
def test_a_leak_is_found(leak: str) -> None:
    def mix(block: torch.nn.Module, given: object, x_BTD: torch.Tensor) -> torch.Tensor:
        return x_BTD + 0.1 * x_BTD.roll(-1 if leak == "later" else 7, dims=1)

    model = tiny_learner()
    model.blocks[0].register_forward_hook(mix)
    found = first_leak(model, SEQUENCES, seq_len=SEQ_LEN, pad_id=0)
    assert found is not None and "sees token" in found


def test_the_peak_is_at_least_what_was_held() -> None:
    assert peak_bytes(lambda: None, torch.device("cpu")) > 0
    assert peak_bytes(lambda: torch.ones(30_000_000).sum().item(), torch.device("cpu")) > 120_000_000  # type: ignore[arg-type, return-value]
