import pytest

from banyan.tasks.baselines.texts import (
    commonest_answer,
    copy_source,
    first_sentences,
    function_name,
    is_code,
    lead_sentences,
    lead_words,
    name_as_summary,
    split_name,
)
from banyan.tasks.dialogue import DialogueExample
from banyan.tasks.summarization import SummaryExample
from banyan.tasks.translation import TranslationExample

CODE = SummaryExample(
    document="@cache\nasync def _read_allLines(path):\n    def inner(): ...", summaries=("Read lines.",)
)
PROSE = SummaryExample(document="The banyan, a fig, grows.", summaries=("One two.",))


def test_copying_answers_the_sentence_itself() -> None:
    example = TranslationExample(text="Anna", source_language="en", target_language="de")
    assert copy_source("mt")([example])[0].text == "Anna"


def test_the_outermost_name_comes_first() -> None:
    assert function_name(CODE.document) == "_read_allLines"
    assert function_name("class HTTPServer(Base): ...") == "HTTPServer"
    assert function_name("x = 1") == ""


@pytest.mark.parametrize(
    ("name", "words"),
    [("_read_allLines", "read all lines"), ("HTTPServer2", "http server 2"), ("b64_encode", "b 64 encode"), ("", "")],
)
def test_a_name_is_split_into_its_words(name: str, words: str) -> None:
    assert split_name(name) == words


def test_a_name_is_a_summary() -> None:
    assert name_as_summary("sum", in_words=False)([CODE])[0].text == "_read_allLines"
    assert name_as_summary("sum", in_words=True)([CODE, PROSE])[1].text == ""


def test_most_documents_decide_what_is_code() -> None:
    assert is_code([CODE, CODE, PROSE])
    assert not is_code([CODE, PROSE])


def test_first_words_are_as_many_as_a_summary_in_the_middle_has() -> None:
    lead = lead_words("sum", [PROSE, PROSE, SummaryExample(document="x", summaries=("one",))])
    assert lead([PROSE])[0].text == "The banyan,"
    assert lead([SummaryExample(document="独木成林。", summaries=())])[0].text == "独木成"


def test_the_commonest_answer_is_always_given() -> None:
    train = [DialogueExample(history=(), answer=text) for text in ("no", "yes", "yes")]
    assert [prediction.text for prediction in commonest_answer("chat", train)(train[:2])] == ["yes", "yes"]


@pytest.mark.parametrize(
    ("text", "first_two"),
    [
        ("One. Two? Three!", "One. Two?"),
        ("At 3.5 m it ends.\n\nThen more\nand more", "At 3.5 m it ends. Then more"),
        ("独木成林。一棵树！三。", "独木成林。一棵树！"),
        ("only this", "only this"),
        (" ", ""),
    ],
)
def test_sentences_end_at_marks_of_both_scripts_and_at_line_ends(text: str, first_two: str) -> None:
    assert first_sentences(text, 2) == first_two


def test_as_many_sentences_are_taken_as_score_best_on_training_summaries() -> None:
    train = [SummaryExample(document="Oaks grow. Elms fall. Figs stay.", summaries=("Oaks grow, elms fall",))] * 3
    assert lead_sentences("sum", train)([SummaryExample(document="A. B. C. D.")])[0].text == "A. B."
