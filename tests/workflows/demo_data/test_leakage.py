from __future__ import annotations

import pytest

from banyan.core.types import Row
from banyan.workflows.demo_data.leakage import LeakageReport, TrainingText, count_leaks, sources_of

LONG = "one two three four five six seven eight nine ten eleven twelve"
TRAINING: list[Row] = [
    {"text": f"def f():\n    return  Some[Thing]\n# {LONG}\n"},
    {"translation": {"en": "3 days", "de": "3 Tage"}, "source_language": "en", "target_language": "de"},
    {"image": {"width": 2, "height": 1, "channels": 1, "pixels": [7, 8]}, "text": "a dot"},
]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("return Some [ thing ]", id="a line with other spaces and case"),
        pytest.param(LONG, id="a part of a longer text"),
        pytest.param(f"A. B. {LONG}. C! D?", id="half of its words in the same order"),
        pytest.param("3 Tage", id="the other side of a translation"),
    ],
)
def test_a_text_that_stands_in_training_is_found(text: str) -> None:
    assert TrainingText(TRAINING).holds(text)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("seven eight nine", id="a few words of a longer text"),
        pytest.param(" ".join(reversed(LONG.split())), id="the same words in another order"),
        pytest.param("return some[thing_else]", id="a line that only begins alike"),
        pytest.param("4 days", id="another number"),
    ],
)
def test_a_text_of_its_own_is_not_found(text: str) -> None:
    assert not TrainingText(TRAINING).holds(text)


def test_only_the_same_picture_is_a_copy_whatever_its_caption() -> None:
    training = TrainingText(TRAINING)
    same: Row = TRAINING[2] | {"text": "another caption"}
    other: Row = {"image": same["image"] | {"pixels": [7, 9]}, "text": "a dot"}
    assert count_leaks(training, {"image_generation": [same, other]}) == {"image_generation": 1}


def test_the_source_is_what_the_model_is_shown_first() -> None:
    messages = [{"role": role, "content": text} for role, text in (("user", "a"), ("assistant", "b"), ("user", "c"))]
    assert sources_of({"messages": messages}) == ["a"]
    assert sources_of({"context": "a", "question": "b"}) == ["a"]
    assert sources_of({"document": "a", "summary": "b"}) == ["a"]
    assert sources_of({"translation": {"en": "a", "de": "b"}, "source_language": "de"}) == ["b"]


def test_a_report_with_a_single_leak_is_not_clean() -> None:
    report = LeakageReport(num_checked={"a": 3}, num_dropped={"a": 5}, leaked={"a": 0})
    assert report.is_clean
    assert not LeakageReport(num_checked={"a": 3}, num_dropped={"a": 5}, leaked={"a": 1}).is_clean


def test_nothing_stands_in_no_training_text() -> None:
    assert not TrainingText([]).holds(LONG)
