"""question_answering: a question about a signature and its docstring → a span of them, in SQuAD's flat format."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from banyan.core.types import Row
from banyan.workflows.demo_data.classification import shorten_at_line
from banyan.workflows.demo_data.library import Definition, DefinitionKind
from banyan.workflows.demo_data.sentences import first_sentence
from banyan.workflows.demo_data.signatures import Parameter, signature_parts

_LONGEST_CONTEXT = 480  # characters
_LONGEST_ANSWER = 90  # characters
_QUESTIONS_PER_CONTEXT = 3

_RETURNS = re.compile(r"\b[Rr]eturns? ((?:an? |the )?[^.:;\n]{3,88}?)(?=[.:;\n]|$| if | or None)")
_RAISES = re.compile(r"\b[Rr]ais(?:es?|ing) (?:an? |the )?`*([A-Z]\w+(?:Error|Exception|Warning|Exit|Interrupt))\b")


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """A signature, an empty line, the docstring; and where each parameter begins."""

    definition: Definition
    text: str
    parameters: tuple[tuple[Parameter, int], ...]  # with the place of its text
    docstring_start: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """One question kind's answer: the words to ask with, and the span."""

    wordings: tuple[str, ...]
    subject: str  # what takes the place of {} in the wording
    start: int
    text: str


def context_of(definition: Definition) -> Context:
    """Write down a definition as a context for questions."""
    text = f"{definition.local_name}("
    placed = []
    for index, part in enumerate(signature_parts(definition)):
        text += ", " if index else ""
        if part.name:
            placed.append((part, len(text)))
        text += part.text
    text += ")\n\n"
    docstring = shorten_at_line(definition.docstring, max(_LONGEST_CONTEXT - len(text), 0))
    return Context(definition=definition, text=text + docstring, parameters=tuple(placed), docstring_start=len(text))


def question_answering_rows(definitions: Sequence[Definition], *, generator: random.Random) -> list[Row]:
    """Return up to three questions of different kinds about each definition, in varied wording, mixed."""
    rows: list[Row] = []
    for definition in definitions:
        context = context_of(definition)
        if len(context.text) > _LONGEST_CONTEXT:
            continue
        kinds = [list(find(context)) for find in _KINDS]
        chosen = [generator.choice(found) for found in kinds if found]
        for answered in generator.sample(chosen, min(_QUESTIONS_PER_CONTEXT, len(chosen))):
            rows.append(_row(context, answered, len(rows), generator))
    generator.shuffle(rows)
    return rows


def _row(context: Context, answered: Answered, number: int, generator: random.Random) -> Row:
    definition = context.definition
    return {
        "id": f"{definition.full_name}#{number}",
        "context": context.text,
        "question": generator.choice(answered.wordings).format(answered.subject),
        "answers": [{"text": answered.text, "start": answered.start}],
        "module": definition.module.name,
    }


def _defaults(context: Context) -> Iterator[Answered]:
    wordings = (
        "What is the default of {}?",
        "What is the default value of {}?",
        "Which default does {} have?",
        "What is {} if it is not given?",
    )
    for parameter, start in context.parameters:
        if 0 < len(parameter.default) <= _LONGEST_ANSWER:
            place = start + len(parameter.text) - len(parameter.default)
            yield Answered(wordings=wordings, subject=parameter.name, start=place, text=parameter.default)


def _annotations(context: Context) -> Iterator[Answered]:
    wordings = ("What is the type of {}?", "Which type does {} have?")
    for parameter, start in context.parameters:
        if parameter.annotation:
            place = start + len(f"{parameter.marker}{parameter.name}: ")
            yield Answered(wordings=wordings, subject=parameter.name, start=place, text=parameter.annotation)


def _named_parameter(place: tuple[Parameter, int], wordings: tuple[str, ...], subject: str) -> Answered:
    parameter, start = place
    return Answered(wordings=wordings, subject=subject, start=start + len(parameter.marker), text=parameter.name)


def _first_parameter(context: Context) -> Iterator[Answered]:
    wordings = (
        "What is the first parameter of {}?",
        "Which parameter of {} comes first?",
        "What does {} take first?",
    )
    if context.parameters:
        yield _named_parameter(context.parameters[0], wordings, context.definition.name)


def _last_parameter(context: Context) -> Iterator[Answered]:
    wordings = ("What is the last parameter of {}?", "Which parameter of {} comes last?")
    if len(context.parameters) > 1:
        yield _named_parameter(context.parameters[-1], wordings, context.definition.name)


def _next_parameter(context: Context) -> Iterator[Answered]:
    wordings = ("Which parameter comes after {}?", "What follows {}?")
    pairs = zip(context.parameters, context.parameters[1:], strict=False)
    for (parameter, _), following in pairs:
        yield _named_parameter(following, wordings, parameter.name)


def _class_of_method(context: Context) -> Iterator[Answered]:
    wordings = ("Which class does {} belong to?", "{} is a method of which class?")
    definition = context.definition
    if definition.kind is DefinitionKind.METHOD and definition.owner:
        yield Answered(wordings=wordings, subject=definition.name, start=0, text=definition.owner)


def _purpose(context: Context) -> Iterator[Answered]:
    wordings = ("What does {} do?", "What is {} for?", "What is the purpose of {}?")
    start = context.docstring_start
    sentence = first_sentence(context.text[start:])
    if 3 < len(sentence) <= _LONGEST_ANSWER and "\n" not in sentence:
        yield Answered(wordings=wordings, subject=context.definition.name, start=start, text=sentence)


def _returned(context: Context) -> Iterator[Answered]:
    wordings = ("What does {} return?", "What is returned by {}?", "What do you get from {}?")
    match = _RETURNS.search(context.text, context.docstring_start)
    if match:
        text = match.group(1).rstrip(" ,-")
        yield Answered(wordings=wordings, subject=context.definition.name, start=match.start(1), text=text)


def _raised(context: Context) -> Iterator[Answered]:
    wordings = ("What does {} raise?", "Which exception does {} raise?", "Which error can come from {}?")
    match = _RAISES.search(context.text, context.docstring_start)
    if match:
        yield Answered(wordings=wordings, subject=context.definition.name, start=match.start(1), text=match.group(1))


_KINDS: tuple[Callable[[Context], Iterator[Answered]], ...] = (
    _defaults,
    _annotations,
    _first_parameter,
    _last_parameter,
    _next_parameter,
    _class_of_method,
    _purpose,
    _returned,
    _raised,
)
