"""The columns of rows tell what they can teach."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from banyan.core.types import Row
from banyan.data.kinds import guess_kind
from banyan.tokenizers.pictures import image_from_array, image_to_png

_PNG = image_to_png(image_from_array(np.zeros((4, 6), dtype=np.uint8)))
_REVIEWS = [("Lovely room", "good"), ("Too loud", "bad"), ("Great view", "good"), ("Cold soup", "bad")]


def _rows(names: Sequence[str], *values: Sequence[Any]) -> list[Row]:
    return [dict(zip(names, row, strict=True)) for row in values]


_SQUAD = {"context": "Ada wrote it.", "question": "Who?", "answers": [{"text": "Ada", "start": 0}]}
_GUESSES: dict[str, tuple[list[Row], str, dict[str, str], dict[str, str]]] = {
    "messages": ([{"messages": [{"role": "user", "content": "hi"}]}], "dialogue", {}, {}),
    "sharegpt": ([{"conversations": [{"from": "human", "value": "hi"}]}], "dialogue", {}, {}),
    "conversation": (
        [{"conversation": [{"role": "user", "content": "hi"}]}],
        *("dialogue", {"messages": "conversation"}, {}),
    ),
    "alpaca": (_rows(("instruction", "input", "output"), ("Say hi", "", "hi")), "dialogue", {}, {}),
    "pairs": (_rows(("prompt", "response"), ("Say hi", "hi")), "dialogue", {}, {}),
    "squad": ([_SQUAD], "question_answering", {}, {}),
    "passages": (
        [{"passage": "Ada wrote it.", "question": "Who?", "answers": {"text": ["Ada"], "answer_start": [0]}}],
        *("question_answering", {"context": "passage"}, {}),
    ),
    "tokens": ([{"tokens": ["Ada"], "ner_tags": ["B-PER"]}], "tagging", {"tags": "ner_tags"}, {}),
    "characters": ([{"text": "中国", "tags": ["B-LOC", "I-LOC"]}], "tagging", {}, {}),
    "entities": ([{"text": "Ada", "spans": [[0, 3, "PER"]]}], "tagging", {"entities": "spans"}, {}),
    "translation": (
        [{"translation": {"en": "tree", "de": "Baum"}}],
        *("translation", {}, {"source_language": "en", "target_language": "de"}),
    ),
    "languages": (
        _rows(("id", "English", "zh"), (1, "tree", "树"), (2, "forest", "森林")),
        *("translation", {"en": "English"}, {"source_language": "en", "target_language": "zh"}),
    ),
    "source_target": (
        _rows(("source", "target"), ("tree", "树"), ("forest", "森林")),
        *("translation", {}, {"source_language": "en", "target_language": "zh"}),
    ),
    "nameless": (
        _rows(("column_1", "column_2"), ("Go.", "Geh."), ("Stop!", "Halt!")),
        *("translation", {"source": "column_1", "target": "column_2"}),
        {"source_language": "xx", "target_language": "yy"},
    ),
    "pictures": ([{"image": _PNG, "label_name": "dog"}], "image_generation", {"text": "label_name"}, {}),
    "hf_pictures": ([{"image": {"bytes": _PNG}, "caption": "dog"}], "image_generation", {"text": "caption"}, {}),
    "numbered_pictures": ([{"image": _PNG, "label": 3}], "image_generation", {}, {}),
    "summaries": (
        [{"article": "A long story about a tree.", "highlights": "A tree."}],
        *("summarization", {"document": "article", "summary": "highlights"}, {}),
    ),
    "reviews": (_rows(("review", "rating"), *_REVIEWS), "classification", {"text": "review", "label": "rating"}, {}),
    "own_names": (
        _rows(("kommentar", "urteil"), *_REVIEWS),
        *("classification", {"text": "kommentar", "label": "urteil"}, {}),
    ),
    "title": (
        _rows(("title", "body", "label"), ("A", "text a", 0), ("B", "text b", 1)),
        *("classification", {}, {"template": "{title}\n{body}"}),
    ),
    "text": ([{"text": "Once upon a time"}], "language_modeling", {}, {}),
    "story": ([{"story": "Once upon a time", "id": 3}], "language_modeling", {"text": "story"}, {}),
}


@pytest.mark.parametrize("name", _GUESSES)
def test_columns_tell_the_kind(name: str) -> None:
    rows, kind, columns, options = _GUESSES[name]
    guess = guess_kind(rows)
    assert guess is not None
    assert (guess.kind, guess.columns, guess.options) == (kind, columns, options)


def test_languages_that_are_only_guessed_are_said_to_be() -> None:
    guess = guess_kind(_GUESSES["nameless"][0])
    assert guess is not None
    assert "are a guess" in guess.notes[0]


def test_numbers_alone_teach_nothing() -> None:
    assert guess_kind([{"x": 1, "y": 2.5}, {"x": 2, "y": 0.5}]) is None


def test_a_label_of_fractions_is_no_label() -> None:
    guess = guess_kind(_rows(("text", "score"), ("a b", "0.13"), ("c d", "0.25"), ("e f", "0.13")))
    assert guess is not None
    assert guess.kind == "language_modeling"
