"""The words of a question as a person reads them, and the tokens of the prompt that each is made of."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from banyan.core.types import Prompt, Span
from banyan.tasks.base import Task
from banyan.tasks.dialogue import Dialogue
from banyan.tasks.language_modeling import LanguageModeling
from banyan.tasks.question_answering import QuestionAnswering
from banyan.tasks.text_to_text import TextToText
from banyan.tasks.units import split_units
from banyan.tokenizers.layout import Conversation
from banyan.tokenizers.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True, slots=True)
class Word:
    """A word, a Han character or a mark with the gap before it; several of them where they share a token."""

    text: str
    positions: tuple[int, ...]  # of its tokens


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A stretch of the prompt that a person wrote."""

    name: str  # "text", "question", "context", or who said it
    words: tuple[Word, ...]


def source_parts(task: Task[Any], example: Any, prompt: Prompt, vocabulary: Vocabulary) -> tuple[Part, ...]:
    """Return what a person wrote of a prompt; instructions and what the format puts around the text are left out."""
    found = _stretches(task, example, prompt, vocabulary)
    parts = (Part(name=name, words=words_of(prompt.token_ids, places, vocabulary)) for name, places in found)
    return tuple(part for part in parts if part.words)


def words_of(token_ids: Sequence[int], positions: range, vocabulary: Vocabulary) -> tuple[Word, ...]:
    """Join the tokens of a stretch into words, at borders that no token reaches over.

    A gap belongs to the word behind it, one at the very end to the last word.
    """
    pieces = [vocabulary.decode_bytes([token_ids[position]]) for position in positions]
    borders = [0, *accumulate(map(len, pieces))]
    starts, inside = _units_in_bytes(b"".join(pieces))
    firsts = [0]  # of each word, counted in tokens
    for number in range(1, len(pieces)):
        holds_unit = bisect_left(starts, borders[number]) > bisect_left(starts, borders[firsts[-1]])
        has_unit_behind = bisect_left(starts, borders[number]) < len(starts)
        if borders[number] not in inside and holds_unit and has_unit_behind:
            firsts.append(number)
    return tuple(
        Word(
            text=b"".join(pieces[first:end]).decode("utf-8", errors="replace"),
            positions=tuple(positions[first:end]),
        )
        for first, end in zip(firsts, [*firsts[1:], len(pieces)], strict=True)
        if first < end
    )


def _units_in_bytes(content: bytes) -> tuple[list[int], set[int]]:
    """Return where each unit of a text starts, and all places inside units, counted in bytes."""
    text = content.decode("utf-8", errors="surrogateescape")  # a text that was cut may end inside a character
    place = [0, *accumulate(len(character.encode("utf-8", errors="surrogateescape")) for character in text)]
    units = [(place[unit.start], place[unit.end]) for unit in split_units(text)]
    return [start for start, _ in units], {at for start, end in units for at in range(start + 1, end)}


def _stretches(task: Task[Any], example: Any, prompt: Prompt, vocabulary: Vocabulary) -> Iterator[tuple[str, range]]:
    if isinstance(task, Dialogue):
        yield from _said(prompt.notes)
    elif isinstance(task, QuestionAnswering) and isinstance(prompt.decoding, Span):
        opening = vocabulary.open_task(task.name, instruction=task.instruction_for(example.question))
        yield "question", range(len(opening), prompt.decoding.first - len(vocabulary.separate()))
        yield "context", range(prompt.decoding.first, prompt.decoding.last + 1)
    elif isinstance(task, LanguageModeling):
        yield "text", range(len(vocabulary.start_ids), len(prompt))
    else:
        instruction = task.instruction_for(task.source(example))
        preface = task.preface(example) if isinstance(task, TextToText) else ""
        opening = vocabulary.open_task(task.name, instruction=instruction, preface=preface)
        yield "text", range(len(opening), len(prompt) - len(vocabulary.ask_answer()))


def _said(talk: Conversation) -> Iterator[tuple[str, range]]:
    at = len(talk.begin)
    for turn in talk.turns:
        first = at + len(turn.opening)
        yield turn.role, range(first, first + len(turn.content))
        at += len(turn)
