import math

import torch

from banyan.model.dropout import position_keys
from banyan.model.embedding_noise import add_noise
from banyan.testing.models import tiny_model

WIDTH = 30


def noise(seeds: list[int], segments: torch.Tensor | None, *, seq_len: int = 12) -> torch.Tensor:
    keys = position_keys(torch.tensor(seeds), seq_len=seq_len)
    return add_noise(torch.zeros(len(seeds), seq_len, WIDTH), keys, segments, strength=5.0)


def test_noise_is_even_between_the_bounds_of_the_paper_for_every_example_of_a_row() -> None:
    num = 2000
    segments = torch.tensor([0] * 3 + [1] * 8 + [-1]).expand(num, -1)
    found = noise(list(range(num)), segments)
    for positions, length in ((slice(0, 3), 3), (slice(3, 11), 8)):
        bound = 5.0 / math.sqrt(length * WIDTH)
        part = found[:, positions]
        assert 0.99 * bound < float(part.abs().max()) <= bound
        deviation = bound / math.sqrt(3)  # of an even distribution
        assert abs(float(part.mean())) < 5 * deviation / math.sqrt(part.numel())
        assert abs(float(part.std()) / deviation - 1) < 0.02


def test_noise_depends_on_seed_and_position_only() -> None:
    rows = noise([1, 2, 3], None)
    assert torch.equal(noise([3], None)[0], rows[2]) and not torch.equal(rows[0], rows[1])


def test_a_model_hears_noise_only_while_it_learns_and_only_if_asked() -> None:
    model, ids, seeds = tiny_model().train(), torch.arange(8)[None], torch.tensor([4])
    plain = model(ids, noise_seeds_B=seeds)
    noisy = model(ids, noise_seeds_B=seeds, noise_strength=5.0)
    assert torch.equal(model(ids, noise_seeds_B=seeds, noise_strength=0.0), plain)
    assert torch.equal(model(ids, noise_seeds_B=seeds, noise_strength=5.0), noisy)
    assert not torch.allclose(noisy, plain)
    assert torch.equal(model.eval()(ids, noise_strength=5.0), plain)
