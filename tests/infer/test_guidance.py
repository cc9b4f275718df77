import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from banyan.infer.guidance import guide, scale_at
from banyan.infer.sampling import SamplingConfig

LOGITS = st.lists(st.floats(-10, 10), min_size=4, max_size=4).map(lambda row: torch.tensor(row, dtype=torch.float64))


@given(LOGITS, LOGITS, st.floats(0, 5))
def test_guidance_multiplies_the_step_from_the_wishless_odds_to_those_with_the_wish(
    wish: torch.Tensor, without: torch.Tensor, scale: float
) -> None:
    guided = guide(wish, without, scale=scale).softmax(0)
    expected = without.softmax(0) * (wish.softmax(0) / without.softmax(0)) ** scale
    torch.testing.assert_close(guided, expected / expected.sum())


@given(LOGITS, LOGITS)
def test_scale_one_is_the_wish_and_scale_zero_is_none(wish: torch.Tensor, without: torch.Tensor) -> None:
    torch.testing.assert_close(guide(wish, without, scale=1).softmax(0), wish.softmax(0))
    torch.testing.assert_close(guide(wish, without, scale=0).softmax(0), without.softmax(0))


def test_more_guidance_makes_what_the_wish_speaks_for_more_probable() -> None:
    wish, without = torch.tensor([2.0, 0.0]), torch.tensor([1.0, 0.0])
    probs = [float(guide(wish, without, scale=scale).softmax(0)[0]) for scale in (0, 1, 2, 4)]
    assert probs == sorted(probs) and probs[1] == pytest.approx(float(wish.softmax(0)[0]))


@pytest.mark.parametrize(("power", "expected"), [(0.0, [3.0, 3.0, 3.0, 3.0]), (1.0, [1.5, 2.0, 2.5, 3.0])])
def test_the_guidance_grows_along_the_picture_as_its_power_says(power: float, expected: list[float]) -> None:
    sampling = SamplingConfig(guidance_scale=3.0, guidance_power=power)
    assert [scale_at(cell, num_cells=4, sampling=sampling) for cell in range(4)] == pytest.approx(expected)
