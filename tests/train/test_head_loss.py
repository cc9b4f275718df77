import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from banyan.train import head_loss
from banyan.train.head_loss import head_cross_entropy


def problem() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    hidden = torch.randn(11, 6, requires_grad=True)
    weight = torch.randn(13, 6, requires_grad=True)
    return hidden, weight, torch.randint(13, (11,)), torch.rand(11)


def written_out(hidden: Tensor, weight: Tensor, targets: Tensor, *, softcap: float) -> Tensor:
    logits = F.linear(hidden, weight)
    logits = torch.tanh(logits / softcap) * softcap if softcap else logits
    return F.cross_entropy(logits, targets, reduction="none")


@pytest.mark.parametrize("softcap", [0.0, 3.0], ids=["plain", "capped"])
@pytest.mark.parametrize("is_known", [False, True], ids=["computed anew", "weights known"])
@pytest.mark.parametrize("block_logits", [1 << 24, 40], ids=["one block", "four blocks"])
def test_losses_and_gradients_are_those_of_a_head_written_out(
    softcap: float, is_known: bool, block_logits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head_loss, "BLOCK_LOGITS", block_logits)
    hidden, weight, targets, weights = problem()
    expected = written_out(hidden, weight, targets, softcap=softcap)
    known = weights if is_known else None
    found = head_cross_entropy(hidden, weight, targets, weights_M=known, softcap=softcap)
    torch.testing.assert_close(found, expected)
    leaves = (hidden, weight)
    for ours, theirs in zip(
        torch.autograd.grad((found * weights * 0.7).sum(), leaves),
        torch.autograd.grad((expected * weights * 0.7).sum(), leaves),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("is_known", [False, True], ids=["computed anew", "weights known"])
@pytest.mark.parametrize("softcap", [0.0, 3.0], ids=["plain", "capped"])
def test_smoothed_losses_and_gradients_are_those_of_pytorchs(
    softcap: float, is_known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head_loss, "BLOCK_LOGITS", 40)
    hidden, weight, targets, weights = problem()
    parts = torch.tensor([0.0, 0.1, 0.3] * 4)[:11]
    logits = F.linear(hidden, weight)
    logits = torch.tanh(logits / softcap) * softcap if softcap else logits
    expected = torch.stack(
        [
            F.cross_entropy(row, target, label_smoothing=part)
            for row, target, part in zip(logits, targets, parts.tolist(), strict=True)
        ]
    )
    known = weights if is_known else None
    found = head_cross_entropy(hidden, weight, targets, weights_M=known, smoothing_M=parts, softcap=softcap)
    torch.testing.assert_close(found, expected)
    leaves = (hidden, weight)
    for ours, theirs in zip(
        torch.autograd.grad((found * weights).sum(), leaves),
        torch.autograd.grad((expected * weights).sum(), leaves),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_gradients_agree_with_finite_differences() -> None:
    hidden, weight, targets, _ = problem()
    inputs = (hidden.detach().double().requires_grad_(), weight.detach().double().requires_grad_())
    assert torch.autograd.gradcheck(lambda h, w: head_cross_entropy(h, w, targets, softcap=2.0), inputs)


def test_positions_that_count_otherwise_than_announced_are_our_own_mistake() -> None:
    hidden, weight, targets, weights = problem()
    losses = head_cross_entropy(hidden, weight, targets, weights_M=weights)
    with pytest.raises(AssertionError, match="as announced"):
        losses[:3].sum().backward()  # type: ignore[no-untyped-call]


def test_a_frozen_head_gets_no_gradient_and_no_position_no_loss() -> None:
    hidden, weight, targets, _ = problem()
    weight.requires_grad_(False)
    head_cross_entropy(hidden, weight, targets).sum().backward()  # type: ignore[no-untyped-call]
    assert weight.grad is None
    assert hidden.grad is not None
    assert head_cross_entropy(hidden[:0], weight, targets[:0]).shape == (0,)


def test_under_autocast_products_are_coarse_and_losses_are_float32() -> None:
    hidden, weight, targets, _ = problem()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = head_cross_entropy(hidden, weight, targets)
    assert losses.dtype == torch.float32
    fine = head_cross_entropy(hidden, weight, targets)
    assert not torch.equal(losses, fine)
    torch.testing.assert_close(losses, fine, rtol=0.05, atol=0.05)
    losses.sum().backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None and weight.grad.dtype == torch.float32


def test_without_a_graph_only_the_logits_are_computed() -> None:
    hidden, weight, targets, weights = problem()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        head_cross_entropy(hidden, weight, targets, weights_M=weights)
    assert counter.get_total_flops() == 2 * hidden.numel() * len(weight)
