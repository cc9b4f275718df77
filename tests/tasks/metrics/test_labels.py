import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from banyan.core.errors import DataError
from banyan.tasks.metrics.labels import measure_labels

label = st.sampled_from(["a", "b", "c", "树"])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(label, label), min_size=1, max_size=30))
def test_scores_are_scikit_learns(pairs: list[tuple[str, str]]) -> None:
    expected, answered = zip(*pairs, strict=True)
    scores = measure_labels(expected, answered, labels=("a", "b", "c", "树", "never")).scores()
    assert scores["accuracy"] == pytest.approx(accuracy_score(expected, answered))
    assert scores["macro_f1"] == pytest.approx(f1_score(expected, answered, average="macro", zero_division=0))


def test_each_example_needs_an_answer() -> None:
    with pytest.raises(DataError, match="1 answers cannot be scored against 2"):
        measure_labels(["a", "b"], ["a"], labels=())
