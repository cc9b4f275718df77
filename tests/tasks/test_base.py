import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from banyan.core.errors import ConfigError, ContextLengthError
from banyan.core.types import NO_GRID, NO_TARGET, LabelSet, MaskKind, Prompt, Span, Tags, Text, TokenSequence
from banyan.tasks.registry import TASK_KINDS, task_from_spec
from banyan.testing.tasks import CHINESE, ENGLISH, HOSTILE, SEEING, TASKS, VOCABULARY, example_about, row_about

MAX_TOKENS = 400
KINDS = list(TASKS)
MASKS = {
    "language_modeling": MaskKind.CAUSAL,
    "dialogue": MaskKind.CAUSAL,
    "tagging": MaskKind.FULL,
}
texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30).filter(lambda text: bool(text.strip()))


def prompt_and_sequence(kind: str, text: str, *, max_tokens: int = MAX_TOKENS) -> tuple[Prompt, TokenSequence]:
    example, task = example_about(kind, text), TASKS[kind]
    return (
        task.prompt(example, VOCABULARY, max_tokens=max_tokens),
        task.render(example, VOCABULARY, max_tokens=max_tokens),
    )


def expects_tokens(prompt: Prompt) -> bool:
    is_head = isinstance(prompt.decoding, Tags | Span) or (
        isinstance(prompt.decoding, LabelSet) and prompt.decoding.head
    )
    return not is_head


def test_every_kind_has_a_task_here() -> None:
    assert {task.kind for task in (*TASKS.values(), *SEEING.values())} == set(TASK_KINDS)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None)
@given(text=texts, max_tokens=st.integers(80, 200))
def test_the_prompt_is_the_beginning_of_what_is_learned(kind: str, text: str, max_tokens: int) -> None:
    prompt, sequence = prompt_and_sequence(kind, text, max_tokens=max_tokens)
    assert sequence.token_ids[: len(prompt)] == prompt.token_ids
    assert len(sequence) <= max_tokens
    assert sequence.task == prompt.task


@pytest.mark.parametrize("text", [ENGLISH, CHINESE])
@pytest.mark.parametrize("kind", KINDS)
def test_a_question_without_its_answer_gives_the_same_prompt(kind: str, text: str) -> None:
    task, row = TASKS[kind], row_about(kind, text)
    if kind == "dialogue":
        row["messages"].pop()
    asked = task.prompt(task.parse(row, with_answer=False), VOCABULARY, max_tokens=MAX_TOKENS)
    assert asked == task.prompt(example_about(kind, text), VOCABULARY, max_tokens=MAX_TOKENS)


@pytest.mark.parametrize("text", [ENGLISH, CHINESE])
@pytest.mark.parametrize("kind", KINDS)
def test_targets_of_the_language_model_are_the_next_ids(kind: str, text: str) -> None:
    prompt, sequence = prompt_and_sequence(kind, text)
    if not expects_tokens(prompt):
        return
    for position, target in enumerate(sequence.targets[:-1]):
        assert target in (NO_TARGET, sequence.token_ids[position + 1])
    assert sequence.targets[-1] in {VOCABULARY.eos_id, VOCABULARY.end_id, VOCABULARY.end_image_id}


@pytest.mark.parametrize("kind", KINDS)
def test_loss_counts_exactly_where_there_is_a_target(kind: str) -> None:
    _, sequence = prompt_and_sequence(kind, ENGLISH)
    assert [weight > 0 for weight in sequence.loss_weights] == [target != NO_TARGET for target in sequence.targets]
    assert any(sequence.loss_weights)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in {"language_modeling", "dialogue"}])
def test_loss_counts_only_on_answers(kind: str) -> None:
    prompt, sequence = prompt_and_sequence(kind, ENGLISH)
    learned = [position for position, weight in enumerate(sequence.loss_weights) if weight]
    if expects_tokens(prompt):
        assert learned == list(range(len(prompt) - 1, len(sequence)))
    else:
        assert max(learned) < len(prompt)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_its_mask(kind: str) -> None:
    prompt, sequence = prompt_and_sequence(kind, CHINESE)
    assert prompt.mask is sequence.mask is MASKS.get(kind, MaskKind.PREFIX)
    assert sequence.prefix_len == (0 if sequence.mask is MaskKind.CAUSAL else len(prompt))


@pytest.mark.parametrize("kind", ["translation", "summarization", "classification as words"])
def test_a_written_answer_is_causal_however_its_question_is_read(kind: str) -> None:
    task = replace(TASKS[kind], mask="full")
    prompt = task.prompt(example_about(kind, ENGLISH), VOCABULARY, max_tokens=MAX_TOKENS)
    sequence = task.render(example_about(kind, ENGLISH), VOCABULARY, max_tokens=MAX_TOKENS)
    assert (prompt.mask, sequence.mask) == (MaskKind.FULL, MaskKind.PREFIX)
    assert sequence.prefix_len == len(prompt) < len(sequence)


@pytest.mark.parametrize("kind", KINDS)
def test_a_users_text_never_becomes_a_special_token(kind: str) -> None:
    plain, _ = prompt_and_sequence(kind, "tree", max_tokens=3000)
    hostile, sequence = prompt_and_sequence(kind, HOSTILE, max_tokens=3000)

    def specials(token_ids: tuple[int, ...]) -> list[int]:
        return [token_id for token_id in token_ids if VOCABULARY.is_special(token_id)]

    assert specials(hostile.token_ids) == specials(plain.token_ids)
    assert len(specials(sequence.token_ids)) == len(specials(hostile.token_ids))
    assert hostile.num_dropped_tokens == 0


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "dialogue"])
def test_what_is_cut_off_is_counted_and_a_strict_task_refuses(kind: str) -> None:
    long = "a tree " * 100
    task, example = TASKS[kind], example_about(kind, long)
    if kind == "question_answering":
        example = TASKS[kind].parse({"question": "?", "context": long, "answers": []})
    whole, cut = (task.prompt(example, VOCABULARY, max_tokens=size) for size in (5000, 60))
    assert len(whole) == len(cut) + cut.num_dropped_tokens
    assert whole.num_dropped_tokens == 0
    strict = task_from_spec({**task.spec(), "truncate": False})
    with pytest.raises(ContextLengthError):
        strict.prompt(example, VOCABULARY, max_tokens=60)


@pytest.mark.parametrize("kind", KINDS)
def test_max_source_tokens_bounds_the_source(kind: str) -> None:
    small = task_from_spec({**TASKS[kind].spec(), "max_source_tokens": 12})
    example = small.parse({"question": "?", "context": "a tree " * 90, "answers": []}) if "question" in kind else None
    example = example or example_about(kind, "a tree " * 90)
    if kind == "dialogue":
        example = small.example_from_text("a tree " * 90)
    assert len(small.prompt(example, VOCABULARY, max_tokens=1000)) <= 12 + 12  # special tokens, the direction


@pytest.mark.parametrize("kind", ["translation", "summarization", "dialogue"])
def test_an_answer_that_does_not_fit_is_learned_without_its_end(kind: str) -> None:
    _, sequence = prompt_and_sequence(kind, "tree " * 60, max_tokens=1000)
    assert sum(target != NO_TARGET for target in sequence.targets[-48:]) == 48
    assert VOCABULARY.decode(sequence.targets[-48:]) in "tree " * 60
    assert not VOCABULARY.is_special(sequence.targets[-1])


@pytest.mark.parametrize("kind", KINDS)
def test_a_description_makes_the_same_task(kind: str) -> None:
    assert task_from_spec(TASKS[kind].spec()) == TASKS[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_only_text_answers_name_a_length_that_fits(kind: str) -> None:
    prompt, _ = prompt_and_sequence(kind, ENGLISH, max_tokens=100)
    if isinstance(prompt.decoding, Text):
        assert 0 < prompt.decoding.max_tokens <= 100 - len(prompt)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "image_generation"])
def test_only_pictures_can_be_asked_for_without_a_wish(kind: str) -> None:
    with pytest.raises(ConfigError, match="only pictures"):
        TASKS[kind].render(example_about(kind, ENGLISH), VOCABULARY, max_tokens=MAX_TOKENS, drop_source=True)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "image_generation"])
def test_only_pictures_have_a_grid(kind: str) -> None:
    _, sequence = prompt_and_sequence(kind, ENGLISH)
    assert set(sequence.grid_ids) <= {NO_GRID}


LINES = {"question_answering": "which tree? ||| an oak", "translation": "en>zh: a tree"}


def test_a_question_typed_on_a_line_can_be_asked() -> None:
    for kind, task in TASKS.items():
        example: Any = task.example_from_text(LINES.get(kind, "a tree"))
        assert len(task.prompt(example, VOCABULARY, max_tokens=100)) > 1


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "image_generation"])  # whose rows need a picture
def test_a_question_typed_on_a_line_is_the_question_of_its_row(kind: str) -> None:
    task, line = TASKS[kind], LINES.get(kind, "a tree")
    asked = task.read_question(line)
    assert task.parse(asked.row, with_answer=False) == asked.example == task.example_from_text(line)


JSON_LINES = {
    "dialogue": '{"messages": [{"role": "user", "content": "a tree"}]}',
    "question_answering": '{"question": "which tree?", "context": "an oak"}',
    "translation": '{"source": "a tree", "source_language": "en", "target_language": "zh"}',
}


@pytest.mark.parametrize(("kind", "line"), JSON_LINES.items(), ids=list(JSON_LINES))
def test_a_question_typed_as_json_is_parsed_once(kind: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[dict[str, Any]] = []
    task, parse = TASKS[kind], type(TASKS[kind]).parse

    def counted(self: Any, row: dict[str, Any], **options: Any) -> Any:
        parsed.append(row)
        return parse(self, row, **options)

    monkeypatch.setattr(type(task), "parse", counted)
    assert task.read_question(line).row == json.loads(line)
    assert parsed == [json.loads(line)]


def test_a_question_that_was_asked_as_a_row_has_our_column_names() -> None:
    task = replace(TASKS["classification"], columns={"text": "review"})  # type: ignore[type-var]
    assert task.read_question({"review": "fine"}).row == {"review": "fine", "text": "fine"}
    assert task.read_question({"text": "fine"}).row == task.read_question("fine").row == {"text": "fine"}
