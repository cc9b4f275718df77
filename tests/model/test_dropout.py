import pytest
import torch

from banyan.model.dropout import drop, position_keys, splitmix
from banyan.model.transformer import Transformer
from banyan.testing.models import tiny_model, tiny_model_config

WORD = (1 << 64) - 1


def splitmix_by_hand(counter: int) -> int:
    """The published code (Vigna, splitmix64.c), on Python's integers, without its first addition."""
    mixed = counter & WORD
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & WORD
    return mixed ^ (mixed >> 31)


def ones(num_rows: int, seq_len: int, width: int) -> torch.Tensor:
    return torch.ones(num_rows, seq_len, width)


def masks(seeds: list[int], *, seq_len: int = 8, width: int = 64, site: int = 0, rate: float = 0.5) -> torch.Tensor:
    keys = position_keys(torch.tensor(seeds), seq_len=seq_len)
    return drop(ones(len(seeds), seq_len, width), keys, site=site, rate=rate) == 0


def test_the_hash_is_splitmix64() -> None:
    counters = torch.randint(-(2**63), 2**63 - 1, (100,), generator=torch.Generator().manual_seed(0))
    expected = [splitmix_by_hand(int(counter)) for counter in counters]
    assert [int(mixed) & WORD for mixed in splitmix(counters.clone())] == expected


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("width", [64, 63, 1])
def test_the_rate_is_right_in_every_channel_and_the_expected_value_stays(rate: float, width: int) -> None:
    num = 4096
    result = drop(ones(num, 16, width), position_keys(torch.arange(num), seq_len=16), site=3, rate=rate)
    deviation = (rate * (1 - rate) / (num * 16)) ** 0.5
    shares = (result == 0).float().mean(dim=(0, 1))
    assert (shares - rate).abs().max() < 5 * deviation + 1 / 65536
    assert float(result.mean()) == pytest.approx(1.0, abs=0.05)


def test_masks_of_neighbouring_rows_positions_channels_and_sites_share_nothing() -> None:
    mask = masks(list(range(400)), width=64).float()
    other_site = masks(list(range(400)), width=64, site=1).float()
    pairs = [
        (mask[1:], mask[:-1]),
        (mask[:, 1:], mask[:, :-1]),
        (mask[..., 1:], mask[..., :-1]),
        (mask[..., 4:], mask[..., :-4]),  # the same lane of the next hash
        (mask, other_site),
    ]
    for one, another in pairs:
        agreement = float((one == another).float().mean())
        assert agreement == pytest.approx(0.5, abs=5 * 0.5 / one.numel() ** 0.5)


def test_a_mask_depends_on_its_row_and_position_only() -> None:
    whole = masks([5, 6, 7], seq_len=8)
    assert torch.equal(masks([7], seq_len=8)[0], whole[2])
    assert torch.equal(masks([5, 6, 7], seq_len=3), whole[:, :3])
    assert not torch.equal(masks([8])[0], whole[2])


def test_gradients_pass_where_values_passed() -> None:
    x = torch.randn(2, 4, 8, requires_grad=True)
    result = drop(x, position_keys(torch.tensor([1, 2]), seq_len=4), site=0, rate=0.25)
    result.sum().backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(x.grad, (result != 0) / 0.75)


def hidden(model: Transformer, rows: slice, *, seeds: torch.Tensor | None) -> torch.Tensor:
    token_ids = torch.arange(4)[:, None] + torch.arange(8)
    return model(token_ids[rows], noise_seeds_B=None if seeds is None else seeds[rows]).detach()


def test_a_model_drops_alike_however_its_rows_are_split() -> None:
    model = tiny_model(tiny_model_config(dropout=0.3), std=0.3).train()
    seeds = torch.tensor([3, 1, 4, 1])
    whole = hidden(model, slice(0, 4), seeds=seeds)
    parts = [hidden(model, part, seeds=seeds) for part in (slice(0, 1), slice(1, 4))]
    torch.testing.assert_close(torch.cat(parts), whole)
    assert not torch.allclose(hidden(model, slice(0, 4), seeds=seeds + 1), whole)


def test_without_seeds_the_global_generator_decides_and_without_training_nothing_is_dropped() -> None:
    model = tiny_model(tiny_model_config(dropout=0.3), std=0.3).train()
    torch.manual_seed(0)
    first, second = (hidden(model, slice(0, 4), seeds=None) for _ in range(2))
    torch.manual_seed(0)
    assert torch.equal(hidden(model, slice(0, 4), seeds=None), first)
    assert not torch.equal(first, second)
    model.eval()
    assert torch.equal(hidden(model, slice(0, 4), seeds=None), hidden(model, slice(0, 4), seeds=torch.arange(4)))
