"""Tag decoding against a search through every sequence."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from banyan.core.errors import ConfigError
from banyan.infer.tags import best_tags, bio_rules

LABELS = ("O", "B-x", "I-x", "B-y", "I-y")


def is_legal(tags: tuple[int, ...]) -> bool:
    before = "O"
    for tag in tags:
        label = LABELS[tag]
        if label.startswith("I-") and before[1:] != label[1:]:
            return False
        before = label
    return True


def sequences(length: int) -> list[tuple[int, ...]]:
    return [tags for tags in itertools.product(range(len(LABELS)), repeat=length) if is_legal(tags)]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.integers(0, 2**31))
def test_the_best_legal_sequence_and_its_probabilities_equal_a_full_search(length: int, seed: int) -> None:
    logits = torch.randn(length, len(LABELS), generator=torch.Generator().manual_seed(seed)) * 3
    scores = logits.double().log_softmax(-1)
    weights = {tags: math.exp(sum(float(scores[n, t]) for n, t in enumerate(tags))) for tags in sequences(length)}
    tags, probs = best_tags(logits, LABELS)
    assert tags == max(weights, key=weights.__getitem__)
    total = math.fsum(weights.values())
    for n, tag in enumerate(tags):
        expected = math.fsum(w for other, w in weights.items() if other[n] == tag) / total
        assert probs[n] == pytest.approx(expected, abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.floats(-1e4, 1e4), min_size=5, max_size=5), min_size=1, max_size=20))
def test_only_legal_sequences_come_out_however_wild_the_logits(logits: list[list[float]]) -> None:
    tags, probs = best_tags(torch.tensor(logits), LABELS)
    assert is_legal(tags) and len(tags) == len(logits)
    assert all(0 <= p <= 1 + 1e-9 for p in probs)


def test_a_text_without_units_has_no_tags() -> None:
    assert best_tags(torch.empty(0, 5), LABELS) == ((), ())


@pytest.mark.parametrize("labels", [("O", "X-y"), ("O", "B-"), ("I-x",)])
def test_labels_that_are_not_bio_are_refused(labels: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError):
        bio_rules(labels)
