import lzma
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from banyan.core.errors import ConfigError, DataError
from banyan.tasks.baselines.compression import MAX_ORDER, ByteNgrams, xz_bits

TRAIN = ["The banyan grows one tree at a time.", "独木成林：一棵树，一片森林。"]


def witten_bell(train: list[str], history: bytes, byte: int, *, order: int) -> float:
    """Interpolated Witten-Bell by its recursion, one probability at a time."""
    counts: dict[bytes, Counter[int]] = {}
    for text in train:
        data = bytes(order - 1) + text.encode()
        for at in range(order - 1, len(data)):
            for length in range(order):
                counts.setdefault(data[at - length : at] + bytes([length]), Counter())[data[at]] += 1
    prob = 1 / 256
    for length in range(order):
        context = (bytes(order - 1) + history)[len(history) + order - 1 - length :] if length else b""
        seen = counts.get(context + bytes([length]))
        if seen:
            prob = (seen[byte] + len(seen) * prob) / (seen.total() + len(seen))
    return prob


@pytest.mark.parametrize("order", [1, 2, 4, MAX_ORDER])
def test_probabilities_are_those_of_the_recursion(order: int) -> None:
    text = "one 树 banyan"
    data = text.encode()
    expected = [witten_bell(TRAIN, data[:at], data[at], order=order) for at in range(len(data))]
    np.testing.assert_allclose(ByteNgrams(TRAIN, order=order).probs(text), expected, rtol=1e-12)


@settings(max_examples=8, deadline=None)
@given(st.text("aeno 树", max_size=6), st.integers(1, 5))
def test_the_probabilities_of_all_bytes_sum_to_one(history: str, order: int) -> None:
    total = sum(witten_bell(TRAIN, history.encode(), byte, order=order) for byte in range(256))
    assert total == pytest.approx(1)


def test_a_text_costs_its_bytes_negative_log_probabilities() -> None:
    model = ByteNgrams(["aab"], order=1)
    p_a, p_b = (2 + 2 / 256) / 5, (1 + 2 / 256) / 5
    assert model.bits(["ab", "", "b"]) == pytest.approx([-math.log2(p_a * p_b), 0, -math.log2(p_b)])


def test_a_longer_context_helps_on_text_like_the_training_text() -> None:
    costs = [sum(ByteNgrams(TRAIN * 3, order=order).bits(TRAIN)) for order in (1, 3, 6)]
    assert costs == sorted(costs, reverse=True)


def test_a_model_needs_text_and_a_length_that_fits() -> None:
    with pytest.raises(ConfigError, match="between 1 and 8"):
        ByteNgrams(TRAIN, order=9)
    with pytest.raises(DataError, match="no text"):
        ByteNgrams([""], order=2)


def test_xz_charges_what_the_texts_add_to_the_file() -> None:
    texts = ["一棵树" * 20, "oak"]
    added = len(lzma.compress("".join(TRAIN + texts).encode(), preset=9)) - len(
        lzma.compress("".join(TRAIN).encode(), preset=9)
    )
    bits = xz_bits(TRAIN, texts)
    assert sum(bits) == pytest.approx(8 * added)
    assert bits[0] / bits[1] == pytest.approx(180 / 3)


def test_xz_has_seen_the_end_of_the_training_text() -> None:
    text = "".join(np.random.default_rng(0).choice(list("abcdefgh"), size=2000))
    known, unknown = (
        sum(xz_bits([train], [text], max_train_bytes=3000)) for train in ("x" * 9000 + text, text + "x" * 9000)
    )
    assert known < unknown / 5
