import numpy as np
import pytest

from banyan.data.checking import plain_form
from banyan.data.near_duplicates import LOWEST_SHARE, Fingerprinter, NearIndex, shared_pairs


def jaccard(first: str, second: str) -> float:
    """The share of pairs of words in both texts, by Python's own sets."""

    def pairs(text: str) -> set[tuple[str, str]]:
        words = text.split() if " " in text else list(text)
        return set(zip(words, words[1:], strict=False))

    return len(pairs(first) & pairs(second)) / len(pairs(first) | pairs(second))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a b c d", "a b c d"),
        ("a b c d", "b c d e"),
        ("a a a b", "a a b b"),
        ("独木成林一棵树", "独木成林两棵树"),
        ("a b", "c d"),
    ],
)
def test_the_share_is_that_of_sets_of_pairs(first: str, second: str) -> None:
    make = Fingerprinter()
    one, other = make.of(first), make.of(second)
    assert one is not None and other is not None
    assert shared_pairs(one, other) == pytest.approx(jaccard(first, second))


def test_a_text_of_one_word_has_no_pairs() -> None:
    assert Fingerprinter().of("banyan") is None and Fingerprinter().of("树") is None


def test_nearly_all_texts_that_share_enough_are_found_and_no_others() -> None:
    generator = np.random.default_rng(0)
    texts = [[f"w{number}" for number in generator.integers(0, 400, size=40)] for _ in range(150)]
    make, index = Fingerprinter(), NearIndex()
    for text in texts:
        fingerprints = make.of(" ".join(text))
        assert fingerprints is not None
        index.add(fingerprints)
    num_missed = 0
    for number, text in enumerate(texts):
        changed = text[:]
        changed[int(generator.integers(5, 35))] = "other"
        changed[3] = "another"
        asked = make.of(" ".join(changed))
        assert asked is not None
        share = jaccard(" ".join(text), " ".join(changed))
        found = index.find(asked, share=LOWEST_SHARE)
        num_missed += share >= LOWEST_SHARE and found != (number, pytest.approx(share))
        assert found is None or found[0] == number
    assert num_missed <= 2


def test_a_long_text_is_taken_in_parts() -> None:
    words = [f"w{number}" for number in range(20_000)]
    make = Fingerprinter()
    whole, most = make.of(" ".join(words)), make.of(" ".join(words[:18_000]))
    assert whole is not None and most is not None
    assert shared_pairs(whole, most) == pytest.approx(0.9, abs=1e-3)
    assert len(set(whole.bands) & set(most.bands)) >= 5


@pytest.mark.parametrize("text", ["Él_Niño — “ＯＫ” 独木成林 がんばれ 한국어 ㄅㄆ", "q8 3-1 x"])
def test_every_word_of_the_plain_form_counts(text: str) -> None:
    found = Fingerprinter().of(plain_form(text))
    assert found is not None and len(found.pairs) == {True: 12, False: 3}["独" in text]
