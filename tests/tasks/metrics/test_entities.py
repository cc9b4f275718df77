import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import f1_score, precision_score, recall_score
from seqeval.scheme import IOB2

from banyan.core.errors import DataError
from banyan.tasks.metrics.entities import measure_entities

sentence = st.integers(1, 8).flatmap(
    lambda length: st.tuples(
        *[st.lists(st.sampled_from(["O", "B-x", "I-x", "B-y", "I-y"]), min_size=length, max_size=length)] * 2
    )
)


@settings(max_examples=40, deadline=None)
@given(st.lists(sentence, min_size=1, max_size=5))
def test_scores_are_seqevals_in_its_strict_mode(sentences: list[tuple[list[str], list[str]]]) -> None:
    expected, answered = [due for due, _ in sentences], [given for _, given in sentences]
    scores = measure_entities(expected, answered).scores()
    if not any(tag[0] == "B" for tags in expected for tag in tags):
        assert scores["f1"] == 0  # seqeval warns and says the same
        return
    for name, score in [("f1", f1_score), ("precision", precision_score), ("recall", recall_score)]:
        reference = score(expected, answered, mode="strict", scheme=IOB2, zero_division=0)
        assert scores[name] == pytest.approx(reference)


def test_half_an_entity_is_no_entity() -> None:
    scores = measure_entities([["B-x", "I-x", "O", "B-y"]], [["B-x", "O", "O", "B-y"]]).scores()
    assert scores == {"f1": 0.5, "precision": 0.5, "recall": 0.5, "tag_accuracy": 0.75}


def test_each_word_needs_a_tag() -> None:
    with pytest.raises(DataError, match="example 2 has 2 tags, its answer 1"):
        measure_entities([["O"], ["O", "O"]], [["O"], ["O"]])
