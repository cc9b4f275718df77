import json
import math
from typing import Any

import pytest
import torch

from banyan.train.balance import TaskBalance
from banyan.train.balance_config import BalanceConfig
from banyan.train.balance_methods import balance_method, running_mean

BALANCE = TaskBalance(scales=(2.0, 1.0, 4.0), weights=(1.0, 3.0, 1.0))
LOSSES = [[4.0, 0.5, 2.0], [3.0, 0.6, 1.0], [2.5, 0.2, 1.5], [2.5, 0.1, 0.9]]


def scaled(losses: list[float]) -> torch.Tensor:
    return torch.tensor(losses, dtype=torch.float64) / torch.tensor(BALANCE.scales, dtype=torch.float64)


def test_log_variances_go_where_the_gradient_of_kendalls_loss_takes_them() -> None:
    method = balance_method(BalanceConfig(method="uncertainty"), BALANCE)
    s = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([s], lr=0.025)
    memory: dict[str, Any] = {}
    for losses in LOSSES:
        adam.zero_grad()
        (torch.exp(-s) * scaled(losses) + s / 2).sum().backward()
        adam.step()
        memory = method.learned(memory, losses=losses, later_losses=None)
    found = method.emphasis(memory, is_present=(True, True, True))
    assert found == pytest.approx(torch.exp(-s).tolist(), rel=1e-12)


def test_famos_logits_go_where_the_published_algorithm_takes_them() -> None:
    method = balance_method(BalanceConfig(method="famo"), BALANCE)
    logits = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([logits], lr=0.025, weight_decay=0.01)
    memory: dict[str, Any] = {}
    for losses, later in zip(LOSSES[:-1], LOSSES[1:], strict=True):
        gains = scaled(losses).log() - scaled(later).log()
        adam.zero_grad()
        (logits.grad,) = torch.autograd.grad(torch.softmax(logits, dim=0), logits, grad_outputs=gains)
        adam.step()
        memory = method.learned(memory, losses=losses, later_losses=later)
    assert memory["adam"]["values"] == pytest.approx(logits.tolist(), rel=1e-9)


def test_famos_tasks_count_like_softmax_over_loss_and_add_up_to_the_same() -> None:
    method = balance_method(BalanceConfig(method="famo"), BALANCE)
    memory = method.learned({}, losses=LOSSES[0], later_losses=LOSSES[1])
    emphasis = method.emphasis(memory, is_present=(True, True, False))
    assert emphasis is not None
    shares = torch.softmax(torch.tensor(memory["adam"]["values"][:2], dtype=torch.float64), dim=0)
    raw = shares / scaled(LOSSES[0])[:2]
    assert emphasis[0] / emphasis[1] == pytest.approx(float(raw[0] / raw[1]))
    assert 1.0 * emphasis[0] + 3.0 * emphasis[1] == pytest.approx(1.0 + 3.0)
    assert emphasis[2] == 0


@pytest.mark.parametrize("name", ["uncertainty", "famo"])
def test_a_task_that_was_not_there_keeps_what_it_had(name: Any) -> None:
    method = balance_method(BalanceConfig(method=name), BALANCE)
    memory = method.learned({}, losses=LOSSES[0], later_losses=LOSSES[1])
    gone = method.learned(memory, losses=[3.0, 0.6, math.nan], later_losses=[2.5, 0.2, math.nan])
    assert gone["adam"]["values"][2] == memory["adam"]["values"][2]
    assert gone["adam"]["values"][0] != memory["adam"]["values"][0]


@pytest.mark.parametrize("name", ["uncertainty", "famo"])
def test_a_memory_survives_json_to_the_last_bit(name: Any) -> None:
    method = balance_method(BalanceConfig(method=name), BALANCE)
    memory = method.learned({}, losses=LOSSES[0], later_losses=LOSSES[1])
    assert json.loads(json.dumps(memory)) == memory


def test_equal_changes_nothing_and_remembers_nothing() -> None:
    method = balance_method(BalanceConfig(), BALANCE)
    assert method.emphasis({}, is_present=(True, True, True)) is None
    assert method.learned({}, losses=LOSSES[0], later_losses=None) == {}


def test_a_running_mean_begins_with_its_first_value() -> None:
    assert running_mean(None, 3.0, smoothing=0.9) == 3.0
    assert running_mean(3.0, 2.0, smoothing=0.9) == pytest.approx(2.9)
    assert running_mean(3.0, math.nan, smoothing=0.9) == 3.0
