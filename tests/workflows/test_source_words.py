"""Words of every kind of question, in both scripts and in foreign formats."""

from __future__ import annotations

import pytest

from banyan.testing.foreign_models import foreign_vocabulary
from banyan.testing.tasks import CHINESE, ENGLISH, TASKS, VOCABULARY, example_about
from banyan.tokenizers.vocabulary import Vocabulary
from banyan.workflows.source_words import Part, source_parts, words_of

KINDS = [kind for kind in TASKS if kind != "image_generation"]
FAMILIES = ("llama2", "qwen2.5")


def parts_of(kind: str, text: str, vocabulary: Vocabulary = VOCABULARY) -> tuple[tuple[Part, ...], tuple[int, ...]]:
    task, example = TASKS[kind], example_about(kind, text)
    prompt = task.prompt(example, vocabulary, max_tokens=2000)
    return source_parts(task, example, prompt, vocabulary), prompt.token_ids


def text_of(part: Part) -> str:
    return "".join(word.text for word in part.words)


@pytest.mark.parametrize("text", [ENGLISH, CHINESE], ids=["English", "Chinese"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_words_are_the_text_that_was_asked_and_nothing_of_the_format(kind: str, text: str) -> None:
    parts, token_ids = parts_of(kind, text)
    expected = {
        "tagging": {"text": f"oak {text}"},
        "question_answering": {"question": text, "context": f"oak {text}"},
        "dialogue": {"system": text, "user": text, "assistant": text},
    }.get(kind, {"text": text})
    assert {part.name: text_of(part) for part in parts} == expected
    positions = [position for part in parts for word in part.words for position in word.positions]
    assert len(set(positions)) == len(positions)
    assert all(VOCABULARY.is_text(token_ids[position]) for position in positions)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["classification as words", "translation", "dialogue", "language_modeling"])
def test_instructions_and_marks_of_a_foreign_format_are_left_out(kind: str, family: str) -> None:
    vocabulary = foreign_vocabulary(family)
    parts, _ = parts_of(kind, ENGLISH, vocabulary)
    # Where a format writes the system's words into the user's message, its marks stand inside that message.
    assert all(text_of(part).strip() == ENGLISH or "<</SYS>>" in text_of(part) for part in parts)


def test_tokens_are_joined_to_words_and_to_single_han_characters() -> None:
    (english,), _ = parts_of("classification", ENGLISH)
    assert [word.text for word in english.words] == [
        "The",
        " banyan",
        " grows",
        " one",
        " tree",
        " at",
        " a",
        " time",
        ".",
    ]
    ids = [*VOCABULARY.encode("猫"), *VOCABULARY.encode("狗 a ")]  # three bytes each, which nobody has merged
    assert [word.text for word in words_of(ids, range(len(ids)), VOCABULARY)] == ["猫", "狗", " a "]


def test_a_character_that_was_cut_inside_is_still_shown() -> None:
    ids = VOCABULARY.encode("a猫")[:-1]
    words = [word.text for word in words_of(ids, range(len(ids)), VOCABULARY)]
    assert words[0] == "a" and len(words) > 1 and set(words[1:]) == {"\ufffd"}
