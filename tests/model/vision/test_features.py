"""Distances in features, and what a net without labels learns from."""

import torch
import torch.nn.functional as F

from banyan.model.vision.features import FeatureNet, feature_distance, frozen_call, quarter_turns


def test_the_distance_is_that_of_unit_vectors() -> None:
    torch.manual_seed(0)
    ours, theirs = ([torch.randn(2, 8, size, size) for size in (4, 2)] for _ in range(2))
    cosines = [F.cosine_similarity(a, b, dim=1).mean(dim=(1, 2)) for a, b in zip(ours, theirs, strict=True)]
    torch.testing.assert_close(feature_distance(ours, theirs), sum(2 - 2 * cosine for cosine in cosines) / 2)
    assert feature_distance(ours, ours).abs().max() < 1e-6


def test_a_frozen_net_answers_the_same_and_passes_the_gradient_on() -> None:
    net, pictures = FeatureNet(channels=1, num_labels=3, width=8), torch.randn(2, 1, 8, 8, requires_grad=True)
    maps, logits = frozen_call(net, pictures)
    torch.testing.assert_close(logits, net(pictures)[1])
    logits.sum().backward()
    assert pictures.grad is not None and len(maps) == 3
    assert all(parameter.grad is None for parameter in net.parameters())


def test_pictures_are_turned_by_as_many_quarters_as_is_said() -> None:
    pictures = torch.randn(6, 3, 4, 4)
    turned, turns = quarter_turns(pictures)
    assert turns.tolist() == [0, 1, 2, 3, 0, 1]
    for picture, other, quarters in zip(pictures, turned, turns.tolist(), strict=True):
        assert torch.equal(other, torch.rot90(picture, quarters, dims=(1, 2)))
