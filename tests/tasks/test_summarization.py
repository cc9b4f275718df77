import pytest

from banyan.core.errors import DataError
from banyan.core.types import Prediction, Row
from banyan.tasks.summarization import Summarization, SummaryExample

SUM = Summarization(name="sum")


@pytest.mark.parametrize(
    "row",
    [
        {"document": "long", "summary": "s"},
        {"text": "long", "summary": ["s"]},
        {"document": "long", "summaries": ["s"]},
    ],
)
def test_every_format_is_read(row: Row) -> None:
    assert SUM.parse(row) == SummaryExample(document="long", summaries=("s",))


def test_a_data_sets_own_column_names_are_followed() -> None:
    task = Summarization(name="sum", columns={"document": "dialogue", "summary": "topic"})
    assert task.parse({"dialogue": "long", "topic": "s"}).summaries == ("s",)
    assert task.parse({"dialogue": "long"}, with_answer=False).summaries == ()


def test_a_template_makes_the_document() -> None:
    task = Summarization(name="sum", template="{title}\n{body}")
    assert task.parse({"title": "T", "body": "B", "summary": "s"}).document == "T\nB"


@pytest.mark.parametrize("summary", [" ", [], [" "], None])
def test_an_example_needs_a_summary(summary: object) -> None:
    with pytest.raises(DataError, match="summary"):
        SUM.parse({"document": "long", "summary": summary})


def test_the_best_of_several_summaries_counts() -> None:
    example = SummaryExample(document="long", summaries=("one tree", "the whole forest"))
    assert SUM.score([example], [Prediction(task="sum", text="the whole forest")])["rouge1"] == 1
