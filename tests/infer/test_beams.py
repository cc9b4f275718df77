"""Beam search beside the enumeration of every answer, and beside transformers."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch

from banyan.core.types import FinishReason
from banyan.infer.beams import BeamSearch, Finished

SIZE, STOP_ID = 4, 3
Table = Callable[[tuple[int, ...]], torch.Tensor]


def table(seed: int) -> Table:
    """Return log-probabilities that depend on all that was said before."""

    def log_probs(said: tuple[int, ...]) -> torch.Tensor:
        place = sum((token + 1) * (SIZE + 1) ** position for position, token in enumerate(said))
        generator = torch.Generator().manual_seed(seed * 100_003 + place)
        return torch.randn(SIZE, generator=generator, dtype=torch.float64).log_softmax(-1)

    return log_probs


def search(log_probs: Table, *, num_beams: int, length_penalty: float, max_tokens: int) -> Finished:
    beams = BeamSearch(
        num_beams=num_beams, length_penalty=length_penalty, max_tokens=max_tokens, stop_ids=frozenset({STOP_ID})
    )
    while not beams.is_over:
        beams.extend(torch.stack([log_probs(beginning.token_ids) for beginning in beams.live]))
    return beams.best


def best_of_all(log_probs: Table, *, length_penalty: float, max_tokens: int) -> tuple[float, tuple[int, ...]]:
    """Score every answer there is."""
    found: list[tuple[float, tuple[int, ...]]] = []
    for length in range(max_tokens + 1):
        for said in itertools.product(range(STOP_ID), repeat=length):
            total = math.fsum(float(log_probs(said[:place])[token]) for place, token in enumerate(said))
            if length < max_tokens:
                total += float(log_probs(said)[STOP_ID])
            found.append((total / min(length + 1, max_tokens) ** length_penalty, said))
    return max(found)


@pytest.mark.parametrize("length_penalty", [-1.0, 0.0, 0.6, 1.0, 2.0])
@pytest.mark.parametrize("seed", range(3))
def test_a_search_that_is_wide_enough_finds_the_best_of_all_answers(seed: int, length_penalty: float) -> None:
    log_probs, max_tokens = table(seed), 4
    score, said = best_of_all(log_probs, length_penalty=length_penalty, max_tokens=max_tokens)
    widest = SIZE**max_tokens
    found = search(log_probs, num_beams=widest, length_penalty=length_penalty, max_tokens=max_tokens)
    assert found.hypothesis.token_ids == said
    assert found.score == pytest.approx(score)
    assert sum(found.hypothesis.log_probs) >= found.hypothesis.total - 1e-12


def test_one_beam_takes_the_likeliest_token_every_time() -> None:
    log_probs = table(5)
    said: tuple[int, ...] = ()
    while len(said) < 5 and (token := int(log_probs(said).argmax())) != STOP_ID:
        said = (*said, token)
    found = search(log_probs, num_beams=1, length_penalty=1.0, max_tokens=5)
    assert found.hypothesis.token_ids == said


def test_the_limit_ends_an_answer_that_does_not_end_itself() -> None:
    def never_stops(said: tuple[int, ...]) -> torch.Tensor:
        return torch.tensor([0.0, -1.0, -2.0, -math.inf]).log_softmax(-1)

    found = search(never_stops, num_beams=2, length_penalty=1.0, max_tokens=3)
    assert (found.reason, found.hypothesis.token_ids) == (FinishReason.LENGTH, (0, 0, 0))


def test_a_search_with_nowhere_to_go_answers_what_it_has() -> None:
    def dead_end(said: tuple[int, ...]) -> torch.Tensor:
        return torch.full((SIZE,), -math.inf) if said else torch.tensor([0.0, -1.0, -2.0, -math.inf])

    assert search(dead_end, num_beams=2, length_penalty=1.0, max_tokens=9).hypothesis.token_ids == (0,)
