import sys

import pytest

from banyan.core.errors import MissingExtraError
from banyan.tasks.baselines.crf import conditional_random_field
from banyan.tasks.tagging import Tagging

NER = Tagging(name="ner", labels=("place",))


def test_a_word_never_seen_is_tagged_by_its_shape_and_its_neighbours() -> None:
    pytest.importorskip("pycrfsuite")
    places = ["Paris", "Rome", "Oslo", "Lima", "Bern", "Kiev"]
    train = [
        NER.parse({"tokens": ["we", verb, "in", place, "now"], "tags": ["O", "O", "O", "B-place", "O"]})
        for verb in ("live", "met")
        for place in places
    ]
    answer = conditional_random_field("ner", train)
    asked = [NER.example_from_text("we met in Cairo now"), NER.example_from_text("met now")]
    assert [prediction.tags for prediction in answer(asked)] == [("O", "O", "O", "B-place", "O"), ("O", "O")]


def test_characters_are_tagged_one_by_one() -> None:
    pytest.importorskip("pycrfsuite")
    task = Tagging(name="ner", labels=("place",), unit="character")
    train = [task.parse({"text": "我在北京住", "tags": ["O", "O", "B-place", "I-place", "O"]})] * 4
    (prediction,) = conditional_random_field("ner", train)([task.example_from_text("他在北京住")])
    assert [entity.text for entity in prediction.entities or ()] == ["北京"]


def test_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycrfsuite", None)
    with pytest.raises(MissingExtraError, match="python-crfsuite") as caught:
        conditional_random_field("ner", [])
    assert "banyan-gpt[baselines]" in (caught.value.hint or "")
