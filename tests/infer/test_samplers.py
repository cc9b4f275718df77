"""Every sampler against a plain loop in double precision."""

import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from banyan.infer.randomness import uniform
from banyan.infer.samplers import SAMPLERS, Draw, MinP, Temperature, TopK, TopP, build_samplers, draw_tokens
from banyan.infer.sampling import SamplingConfig

# Quarter steps keep probabilities apart from the thresholds or exactly on a tie, never within rounding of each other.
LOGITS = st.lists(st.integers(-40, 40).map(lambda n: n / 4), min_size=1, max_size=30)


def support(sampler: object, logits: list[float]) -> set[int]:
    kept = sampler(torch.tensor([logits], dtype=torch.float64))[0]  # type: ignore[operator]
    return {token for token, value in enumerate(kept.tolist()) if value > -math.inf}


def reference_probs(logits: list[float]) -> list[float]:
    weights = [math.exp(value - max(logits)) for value in logits]
    return [weight / math.fsum(weights) for weight in weights]


@given(LOGITS, st.integers(1, 40))
def test_top_k_keeps_the_k_best_and_their_equals(logits: list[float], k: int) -> None:
    smallest = sorted(logits, reverse=True)[: min(k, len(logits))][-1]
    assert support(TopK(k), logits) == {token for token, value in enumerate(logits) if value >= smallest}


@given(LOGITS, st.floats(0.01, 0.999))
def test_top_p_keeps_the_fewest_tokens_that_hold_the_probability(logits: list[float], p: float) -> None:
    probs = reference_probs(logits)
    order = sorted(range(len(logits)), key=lambda token: (-logits[token], token))
    expected, held = set(), 0.0
    for token in order:
        if held > p - 1e-9 and not math.isclose(held, p, abs_tol=1e-9):
            break
        expected.add(token)
        held += probs[token]
    found = support(TopP(p), logits)
    assert found == expected or any(
        math.isclose(math.fsum(probs[t] for t in order[:n]), p, abs_tol=1e-9) for n in range(1, len(order) + 1)
    )
    assert order[0] in found


@given(LOGITS, st.sampled_from([0.01, 0.1, 0.33, 0.9, 1.0]))
def test_min_p_keeps_what_is_nearly_as_probable_as_the_best(logits: list[float], p: float) -> None:
    probs = reference_probs(logits)
    assert support(MinP(p), logits) == {t for t, prob in enumerate(probs) if prob >= p * max(probs) * (1 - 1e-12)}


@given(LOGITS, st.floats(1e-30, 50))
def test_temperature_divides_the_logits(logits: list[float], temperature: float) -> None:
    scaled = Temperature(temperature)(torch.tensor([logits], dtype=torch.float64))[0].tolist()
    expected = reference_probs([(value - max(logits)) / temperature for value in logits])
    assert torch.tensor(scaled).softmax(0).tolist() == pytest.approx(expected, abs=1e-6)


@given(LOGITS)
def test_a_greedy_row_takes_the_first_of_the_most_probable(logits: list[float]) -> None:
    drawn = draw_tokens(torch.tensor([logits]), [Draw(samplers=(), uniform=None)])
    assert drawn == [logits.index(max(logits))]


@given(LOGITS, st.floats(0, 1, exclude_max=True))
def test_a_draw_inverts_the_cumulative_distribution(logits: list[float], u: float) -> None:
    probs = reference_probs(logits)
    bounds = [math.fsum(probs[:n]) for n in range(len(probs) + 1)]
    [token] = draw_tokens(torch.tensor([logits], dtype=torch.float64), [Draw(samplers=(), uniform=u)])
    assert bounds[token] - 1e-9 <= u <= bounds[token + 1] + 1e-9


@settings(max_examples=50)
@given(st.lists(LOGITS, min_size=1, max_size=6), st.integers(0, 1000), st.data())
def test_a_row_is_drawn_the_same_alone_and_among_others(
    rows: list[list[float]], seed: int, data: st.DataObject
) -> None:
    width = max(len(row) for row in rows)
    logits = torch.tensor([row + [-math.inf] * (width - len(row)) for row in rows])
    configs = [
        SamplingConfig(
            temperature=data.draw(st.sampled_from([0.0, 0.5, 1.0])),
            top_k=data.draw(st.sampled_from([0, 3])),
            top_p=data.draw(st.sampled_from([1.0, 0.8])),
            min_p=data.draw(st.sampled_from([0.0, 0.1])),
        )
        for _ in rows
    ]
    draws = [
        Draw(samplers=build_samplers(config), uniform=None if config.is_greedy else uniform(seed, row))
        for row, config in enumerate(configs)
    ]
    alone = [draw_tokens(logits[row : row + 1], [draw])[0] for row, draw in enumerate(draws)]
    assert draw_tokens(logits, draws) == alone
    assert all(token < len(row) for token, row in zip(alone, rows, strict=True))


def test_draws_follow_the_distribution() -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0, -math.inf]]).repeat(8000, 1)
    draws = [Draw(samplers=(), uniform=uniform(11, position)) for position in range(8000)]
    counts = Counter(draw_tokens(logits, draws))
    for token, prob in enumerate(logits[0].softmax(0).tolist()):
        assert abs(counts[token] - 8000 * prob) <= 4.5 * math.sqrt(8000 * prob * (1 - prob))


def test_a_draw_at_the_very_end_never_takes_an_impossible_token() -> None:
    logits = torch.tensor([[0.3, 0.1, -math.inf, -math.inf]])
    assert draw_tokens(logits, [Draw(samplers=(), uniform=1 - 2**-53)]) == [1]


def test_every_registered_sampler_is_built_when_it_is_asked_for_and_left_out_when_not() -> None:
    everything = SamplingConfig(temperature=0.5, top_k=2, top_p=0.5, min_p=0.5)
    assert build_samplers(everything) == (Temperature(0.5), TopK(2), TopP(0.5), MinP(0.5))
    assert len(SAMPLERS) == 4
    assert build_samplers(SamplingConfig(temperature=1.0)) == ()
    assert build_samplers(SamplingConfig(top_k=5)) == ()  # greedy
