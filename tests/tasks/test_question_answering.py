import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from banyan.core.errors import ContextLengthError, DataError, InputError
from banyan.core.types import ENDS_HERE, IN_CONTEXT, STARTS_HERE, Completion, MaskKind, Prompt, Row, Span
from banyan.tasks.question_answering import QuestionAnswering, QuestionExample, ReferenceSpan
from banyan.tasks.units import split_units
from banyan.testing.vocabulary import tiny_vocabulary

VOCABULARY = tiny_vocabulary(["qa"])
QA = QuestionAnswering(name="qa", may_be_empty=True, max_answer_tokens=500)
CONTEXT = "The banyan (榕树) grows in India, 独木成林。It's a 'fig' tree."


def asked(context: str, *answers: tuple[str, int]) -> QuestionExample:
    spans = tuple(ReferenceSpan(text=text, start=start) for text, start in answers)
    return QuestionExample(question="What is 榕树?", context=context, answers=spans)


def marked_positions(targets: tuple[int, ...], mark: int) -> list[int]:
    return [position for position, target in enumerate(targets) if target > 0 and target & mark]


contexts = st.lists(st.sampled_from(["oak", "树", "é", "𠮷", "42", ",", " ", "\n", "Üb", "()"]), min_size=1).map(
    "".join
)


@settings(max_examples=200, deadline=None)
@given(context=contexts, data=st.data())
def test_an_answer_of_whole_words_comes_back_exactly(context: str, data: st.DataObject) -> None:
    units = split_units(context)
    if not units:
        return
    first = data.draw(st.integers(0, len(units) - 1))
    last = data.draw(st.integers(first, len(units) - 1))
    start, end = units[first].start, units[last].end
    example = asked(context, (context[start:end], start))
    sequence = QA.render(example, VOCABULARY, max_tokens=2000)
    (opened,), (closed,) = (marked_positions(sequence.targets, mark) for mark in (STARTS_HERE, ENDS_HERE))
    prompt = QA.prompt(example, VOCABULARY, max_tokens=2000)
    prediction = QA.read(prompt, Completion(span=(opened, closed), span_prob=0.5), VOCABULARY)
    assert (prediction.span, prediction.text, prediction.score) == ((start, end), context[start:end], 0.5)


def test_an_answer_inside_a_word_is_taken_as_the_whole_word() -> None:
    prompt = QA.prompt(asked(CONTEXT), VOCABULARY, max_tokens=400)
    first, last = prompt.notes.positions(5, 7)
    assert CONTEXT[slice(*prompt.notes.characters(first, last))] == "banyan"


def test_the_context_stands_between_two_separators_where_the_span_may_lie() -> None:
    prompt = QA.prompt(asked(CONTEXT), VOCABULARY, max_tokens=400)
    assert isinstance(prompt.decoding, Span)
    first, last = prompt.decoding.first, prompt.decoding.last
    assert prompt.token_ids[first - 1] == prompt.token_ids[last + 1] == VOCABULARY.sep_id
    assert VOCABULARY.decode(prompt.token_ids[first : last + 1]) == CONTEXT
    assert VOCABULARY.decode(prompt.token_ids[: first - 1]) == "What is 榕树?"
    assert prompt.mask is MaskKind.PREFIX


def test_no_answer_is_both_marks_at_the_first_position() -> None:
    sequence = QA.render(asked(CONTEXT), VOCABULARY, max_tokens=400)
    assert [t for t in sequence.targets if t > 0] == [STARTS_HERE | ENDS_HERE]
    assert sequence.targets[0] == STARTS_HERE | ENDS_HERE
    prompt = QA.prompt(asked(CONTEXT), VOCABULARY, max_tokens=400)
    prediction = QA.read(prompt, Completion(span=None, span_prob=0.9), VOCABULARY)
    assert (prediction.text, prediction.span, prediction.score) == ("", None, 0.9)


@pytest.mark.parametrize("answers", [(), (("tree", 55),)])
def test_a_head_that_looks_for_matches_is_told_the_context_which_bears_no_loss(answers: tuple[tuple[str, int]]) -> None:
    example = asked(CONTEXT, *((text, CONTEXT.index(text)) for text, _ in answers))
    plain = QA.render(example, VOCABULARY, max_tokens=400)
    told = dataclasses.replace(QA, matches=True).render(example, VOCABULARY, max_tokens=400)
    decoding = QA.prompt(example, VOCABULARY, max_tokens=400).decoding
    assert isinstance(decoding, Span)
    assert marked_positions(told.targets, IN_CONTEXT) == list(range(decoding.first, decoding.last + 1))
    assert told.loss_weights == plain.loss_weights and sum(told.loss_weights) in (1, 2)
    for mark in (STARTS_HERE, ENDS_HERE):
        assert marked_positions(told.targets, mark) == marked_positions(plain.targets, mark)


def test_an_answer_of_one_token_opens_and_closes_there() -> None:
    sequence = QA.render(asked("a b", ("a", 0)), VOCABULARY, max_tokens=400)
    assert [t for t in sequence.targets if t > 0] == [STARTS_HERE | ENDS_HERE]


@pytest.mark.parametrize("answer", [("tree", CONTEXT.index("tree")), (CONTEXT, 0)], ids=["whole", "in part"])
def test_an_answer_that_was_cut_off_is_not_learned(answer: tuple[str, int]) -> None:
    example = asked(CONTEXT, answer)
    assert not any(QA.render(example, VOCABULARY, max_tokens=50).loss_weights)
    assert any(QA.render(example, VOCABULARY, max_tokens=400).loss_weights)


def test_an_answer_longer_than_allowed_is_not_learned() -> None:
    short = QuestionAnswering(name="qa", max_answer_tokens=3)
    assert not any(short.render(asked(CONTEXT, (CONTEXT, 0)), VOCABULARY, max_tokens=400).loss_weights)


def test_the_question_is_never_cut() -> None:
    prompt = QA.prompt(asked(CONTEXT), VOCABULARY, max_tokens=30)
    assert isinstance(prompt.decoding, Span)
    assert VOCABULARY.decode(prompt.token_ids[: prompt.decoding.first]) == "What is 榕树?"
    with pytest.raises(ContextLengthError):
        QA.prompt(QuestionExample(question="why " * 50, context=CONTEXT), VOCABULARY, max_tokens=30)


@pytest.mark.parametrize(
    "answers",
    [
        [{"text": "榕树", "start": 12}],
        [{"text": "榕树", "answer_start": 12}],
        {"text": ["榕树"], "answer_start": [12]},
        [{"text": "榕树", "start": 3}],
        ["榕树"],
    ],
    ids=["ours", "SQuAD", "Hugging Face", "wrong start", "text alone"],
)
def test_every_spelling_of_an_answer_is_read(answers: object) -> None:
    row: Row = {"question": "?", "context": CONTEXT, "answers": answers}
    assert QA.parse(row).answers == (ReferenceSpan(text="榕树", start=12),)


@pytest.mark.parametrize("answers", [[], None, {"text": [], "answer_start": []}])
def test_a_question_may_have_no_answer(answers: object) -> None:
    row: Row = {"question": "?", "context": CONTEXT, "answers": answers}
    assert QA.parse(row).answers == ()
    assert QuestionAnswering.fields_from_rows([row], columns={}) == {"may_be_empty": True}
    with pytest.raises(DataError, match="may_be_empty is off"):
        QuestionAnswering(name="qa").render(QA.parse(row), VOCABULARY, max_tokens=400)


@pytest.mark.parametrize("answers", [[{"text": "oak", "start": 0}], [{"text": " "}], 7, {"text": ["a"]}])
def test_an_answer_that_cannot_be_found_is_refused(answers: object) -> None:
    with pytest.raises(DataError):
        QA.parse({"question": "?", "context": CONTEXT, "answers": answers})


def test_a_question_is_typed_on_a_line_or_as_json() -> None:
    expected = QuestionExample(question="Which?", context="An oak.")
    assert QA.example_from_text("Which? ||| An oak.") == expected
    assert QA.example_from_text('{"question": "Which?", "context": "An oak."}') == expected
    for bad in ["Which?", " ||| An oak.", '{"question": "Which?"}', "{not json"]:
        with pytest.raises(InputError):
            QA.example_from_text(bad)


def test_a_prompt_can_be_compared_whatever_its_notes_are() -> None:
    prompts: list[Prompt] = [QA.prompt(asked(CONTEXT), VOCABULARY, max_tokens=400) for _ in range(2)]
    assert prompts[0] == prompts[1]
