import math

import torch

from banyan.train.span_loss import span_losses


def test_an_untrained_span_head_is_as_good_as_guessing() -> None:
    segments = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1, 1, 1])
    losses = span_losses(
        torch.zeros(10, 2), torch.tensor([1, -1, 2, -1, -1, -1, -1, 3, -1, -1]), segments, num_segments=2
    )
    four, six = math.log(4), math.log(6)
    torch.testing.assert_close(losses, torch.tensor([four, 0, four, 0, 0, 0, 0, 2 * six, 0, 0]))


def test_large_span_scores_do_not_overflow() -> None:
    logits = torch.tensor([[1e4, 0.0], [0.0, 1e4]])
    losses = span_losses(logits, torch.tensor([1, 2]), torch.tensor([0, 0]), num_segments=1)
    torch.testing.assert_close(losses, torch.zeros(2))


def test_span_losses_equal_cross_entropies_over_the_positions_of_each_example() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, segments = torch.randn(7, 2, generator=generator), torch.tensor([0, 0, 0, 1, 1, 1, 1])
    targets = torch.tensor([-1, 1, 2, 3, -1, -1, -1])
    losses = span_losses(logits, targets, segments, num_segments=2)
    first, second = logits[:3], logits[3:]
    start = torch.nn.functional.cross_entropy(first[:, 0], torch.tensor(1))
    end = torch.nn.functional.cross_entropy(first[:, 1], torch.tensor(2))
    both = sum(torch.nn.functional.cross_entropy(second[:, side], torch.tensor(0)) for side in (0, 1))
    torch.testing.assert_close(losses[[1, 2, 3]], torch.stack([start, end, both]))
