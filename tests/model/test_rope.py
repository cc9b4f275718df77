import cmath

import torch

from banyan.model.config import RopeScaling
from banyan.model.rope import RopeTable, rope_frequencies, rotate
from banyan.testing.models import tiny_model_config


def table_at(positions: torch.Tensor, **changes: object) -> tuple[torch.Tensor, torch.Tensor]:
    return RopeTable(tiny_model_config(**changes)).at(positions, dtype=torch.float32)


def test_each_pair_of_channels_turns_by_its_own_angle() -> None:
    x = torch.randn(1, 5, 2, 8)
    turned = rotate(x, *table_at(torch.arange(5), rope_theta=100.0))
    for position in range(5):
        for pair in range(4):
            turn = cmath.exp(1j * position / 100.0 ** (2 * pair / 8))
            expected = complex(x[0, position, 0, pair], x[0, position, 0, pair + 4]) * turn
            found = complex(turned[0, position, 0, pair], turned[0, position, 0, pair + 4])
            assert abs(found - expected) < 1e-5


def test_the_product_of_query_and_key_depends_on_their_distance_alone() -> None:
    q, k = torch.randn(1, 1, 1, 8), torch.randn(1, 1, 1, 8)

    def product(q_position: int, k_position: int) -> torch.Tensor:
        turned_q = rotate(q, *table_at(torch.tensor([q_position])))
        return (turned_q * rotate(k, *table_at(torch.tensor([k_position])))).sum()

    torch.testing.assert_close(product(9, 4), product(40, 35))


def test_each_row_may_have_positions_of_its_own() -> None:
    cos, sin = table_at(torch.tensor([[0, 1, 2], [5, 0, 1]]))
    alone = table_at(torch.tensor([5, 0, 1]))
    torch.testing.assert_close((cos[1:], sin[1:]), alone)


def test_llama3_scaling_keeps_short_waves_and_stretches_long_ones() -> None:
    scaling = RopeScaling(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_seq_len=64)
    plain = rope_frequencies(32, theta=10_000.0)
    ratio = rope_frequencies(32, theta=10_000.0, scaling=scaling) / plain
    turns = 64 * plain / (2 * torch.pi)
    torch.testing.assert_close(ratio[turns > 4.0], torch.ones_like(ratio[turns > 4.0]))
    torch.testing.assert_close(ratio[turns < 1.0], torch.full_like(ratio[turns < 1.0], 1 / 8))
    between = ratio[(turns >= 1.0) & (turns <= 4.0)]
    assert len(between) and ((between > 1 / 8) & (between < 1)).all()
