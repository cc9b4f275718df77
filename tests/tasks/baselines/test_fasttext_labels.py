import sys

import numpy as np
import pytest

from banyan.core.errors import MissingExtraError
from banyan.tasks.baselines.fasttext_labels import fasttext
from banyan.tasks.classification import ClassificationExample

TEXTS = {"trees": ["the oak\nand the elm grow", "榕树和松树"], "two words": ["shares fell today", "银行提高利率"]}
TRAIN = [ClassificationExample(text=text, label=label) for label, texts in TEXTS.items() for text in texts * 20]


def test_both_scripts_are_learned_and_the_same_seed_says_the_same() -> None:
    pytest.importorskip("fasttext")
    asked = [ClassificationExample(text=text) for text in ("The elm", "提高利率", "an unknown word", "\n")]
    first, again = (fasttext("topic", TRAIN, seed=3)(asked) for _ in range(2))
    assert first == again
    assert [prediction.text for prediction in first[:2]] == ["trees", "two words"]
    for prediction in first:
        assert prediction.labels is not None and set(prediction.labels) == set(TEXTS)
        assert sum(prediction.labels.values()) == pytest.approx(1)
        assert prediction.score == max(prediction.labels.values())


def test_memory_that_was_used_before_does_not_reach_the_model() -> None:
    pytest.importorskip("fasttext")
    (fresh,) = fasttext("topic", TRAIN, seed=3)(TRAIN[:1])
    for _ in range(2):
        used = [np.full(4_000_000, np.nan, dtype=np.float32) for _ in range(4)]
        del used
        (again,) = fasttext("topic", TRAIN, seed=3)(TRAIN[:1])
        assert again.score == fresh.score


def test_a_single_label_needs_no_model() -> None:
    (prediction,) = fasttext("topic", TRAIN[:20], seed=0)(TRAIN[-1:])
    assert prediction.text == "trees"


def test_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fasttext", None)
    with pytest.raises(MissingExtraError, match="fasttext") as caught:
        fasttext("topic", TRAIN, seed=0)
    assert "banyan-gpt[baselines]" in (caught.value.hint or "")
