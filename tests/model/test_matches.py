"""What comes again of a question in its context, against counts made in plain Python."""

from __future__ import annotations

import random
from collections import Counter

import pytest
import torch

from banyan.model.matches import NUM_MATCH_FEATURES, match_features
from banyan.model.ngrams import ReadTokens

QUESTION, CONTEXT = [1, 9, 5, 6, 7, 2], [8, 5, 6, 3, 5, 4, 7]


def tokens_of(*examples: tuple[list[int], list[int]]) -> ReadTokens:
    """Lay questions, each with its context and a closing token, one behind the other."""
    ids, owners, inside = [], [], []
    for number, (question, context) in enumerate(examples):
        ids += [*question, *context, 2]
        owners += [number] * (len(question) + len(context) + 1)
        inside += [False] * len(question) + [True] * len(context) + [False]
    return ReadTokens(
        token_ids=torch.tensor(ids),
        examples=torch.tensor(owners),
        num_examples=len(examples),
        is_context=torch.tensor(inside),
    )


def plain_features(question: list[int], context: list[int]) -> list[list[float]]:
    """The same numbers by loops, for the positions of the context."""
    counts, size = Counter(context), len(context)
    asked_pairs = set(zip(question, question[1:], strict=False))
    pairs = [pair in asked_pairs for pair in zip(context, context[1:], strict=False)]
    again = [float(token in question) for token in context]
    series = (
        [hit / counts[token] for hit, token in zip(again, context, strict=True)],
        again,
        [float((n < size - 1 and pairs[n]) or (n > 0 and pairs[n - 1])) for n in range(size)],
    )

    def summed(values: list[float], low: int, high: int) -> float:
        return sum(values[max(0, low) : max(0, high)])

    rows = []
    for n in range(size):
        row = [values[n] for values in series]
        for width in (1, 2, 4, 8, 16, 32):
            row += [summed(values, n - width, n) / width**0.5 for values in series]
            row += [summed(values, n + 1, n + 1 + width) / width**0.5 for values in series]
        for width in (8, 16, 32):
            for values in series:
                around = [summed(values, m - width, m + 1 + width) for m in range(size)]
                row.append(around[n] / max(*around, 1e-6))
        row.append(1 / (1 + len(question) + n))
        rows.append(row + [value * (again[n] == 0) for value in row])
    return rows


def test_features_are_those_of_plain_loops() -> None:
    chance = random.Random(0)
    examples = [(QUESTION, CONTEXT)]
    examples += [([chance.randrange(30) for _ in range(7)], [chance.randrange(30) for _ in range(90)]) for _ in "ab"]
    tokens = tokens_of(*examples)
    assert tokens.is_context is not None
    found = match_features(tokens)[tokens.is_context]
    expected = torch.tensor([row for example in examples for row in plain_features(*example)])
    assert found.shape[1] == NUM_MATCH_FEATURES
    torch.testing.assert_close(found, expected)


def test_the_question_has_no_features() -> None:
    tokens = tokens_of((QUESTION, CONTEXT))
    assert tokens.is_context is not None
    assert not match_features(tokens)[~tokens.is_context].any()


def test_an_example_has_the_same_features_alone_and_behind_others() -> None:
    first, second = ([3, 5, 5, 6, 2], [5, 6, 7, 7, 6]), (QUESTION, CONTEXT)
    together = match_features(tokens_of(first, second))
    assert torch.equal(together[11:], match_features(tokens_of(second)))
    assert torch.equal(together[:11], match_features(tokens_of(first)))


@pytest.mark.parametrize("ids", [[4], [2_000_000_000, 151_935]])
def test_any_ids_and_a_context_without_a_question_have_features(ids: list[int]) -> None:
    tokens = ReadTokens.of_rows(torch.tensor([ids]), context=(0, len(ids) - 1))
    assert match_features(tokens).isfinite().all()
