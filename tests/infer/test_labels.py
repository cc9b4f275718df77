import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from banyan.core.errors import InputError
from banyan.infer.labels import label_probs_from_logits, label_probs_from_words

LOG_PROBS = st.lists(st.floats(-30, -1e-3), min_size=1, max_size=5)


@given(st.lists(st.floats(-20, 20), min_size=1, max_size=12))
def test_head_probabilities_sum_to_one_and_keep_the_order(logits: list[float]) -> None:
    probs = label_probs_from_logits(torch.tensor(logits, dtype=torch.float64))
    assert sum(probs) == pytest.approx(1)
    assert all((probs[i] > probs[j]) <= (logits[i] > logits[j]) for i in range(len(logits)) for j in range(len(logits)))


@given(st.lists(LOG_PROBS, min_size=1, max_size=6), st.booleans())
def test_word_probabilities_are_the_softmax_of_sums_or_means(scores: list[list[float]], mean: bool) -> None:
    totals = [math.fsum(s) / (len(s) if mean else 1) for s in scores]
    weights = [math.exp(t - max(totals)) for t in totals]
    expected = [w / math.fsum(weights) for w in weights]
    assert label_probs_from_words(scores, length_normalised=mean) == pytest.approx(expected)


def test_a_long_label_loses_by_its_length_only_when_sums_are_asked_for() -> None:
    scores = [[-0.5], [-0.4] * 4]
    assert label_probs_from_words(scores)[0] > 0.5
    assert label_probs_from_words(scores, length_normalised=True)[0] < 0.5


def test_a_label_without_tokens_is_refused() -> None:
    with pytest.raises(InputError, match="no tokens"):
        label_probs_from_words([[-1.0], []])
