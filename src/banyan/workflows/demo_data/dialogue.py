"""dialogue: "what does `textwrap.shorten` do?" and perhaps a follow-up, {"messages"}."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from banyan.core.types import Row
from banyan.workflows.demo_data.library import Definition, DefinitionKind
from banyan.workflows.demo_data.sentences import first_sentence
from banyan.workflows.demo_data.signatures import parameters_of, signature_text

_LONGEST_ANSWER = 160  # characters
_LONGEST_NAME = 90  # characters of a name with its parameters
_FOLLOW_UP_SHARE = 0.6

_OPENINGS = (
    "What does `{}` do?",
    "what does {} do?",
    "What is `{}` for?",
    "Can you explain `{}`?",
    "Tell me what `{}` does.",
    "I found `{}` in some code. What is it good for?",
)


def dialogue_rows(definitions: Sequence[Definition], *, generator: random.Random) -> list[Row]:
    """Return one conversation of one or two turns about each definition that people call, mixed.

    Half of the openings show the parameters, so that a question about them can be answered from the conversation.
    """
    rows = []
    for definition in definitions:
        answer = " ".join(first_sentence(definition.docstring).split())
        if definition.is_plain and 8 <= len(answer) <= _LONGEST_ANSWER:
            rows.append(_conversation(definition, answer, generator))
    generator.shuffle(rows)
    return rows


def _conversation(definition: Definition, answer: str, generator: random.Random) -> Row:
    with_parameters = f"{definition.module.name}.{signature_text(definition)}"
    shows_parameters = generator.random() < 0.5 and len(with_parameters) <= _LONGEST_NAME
    name = with_parameters if shows_parameters else definition.full_name
    turns = [(generator.choice(_OPENINGS).format(name), answer)]
    if generator.random() < _FOLLOW_UP_SHARE:
        follow_ups = _FOLLOW_UPS if shows_parameters else _FOLLOW_UPS[1:]
        turns.append(generator.choice(follow_ups)(definition, generator))
    messages = []
    for question, reply in turns:
        messages += [{"role": "user", "content": question}, {"role": "assistant", "content": reply}]
    return {"messages": messages, "module": definition.module.name}


def _arguments(definition: Definition, generator: random.Random) -> tuple[str, str]:
    question = generator.choice(
        ("What arguments does it take?", "Which parameters does it have?", "and its arguments?")
    )
    names = [f"{parameter.marker}{parameter.name}" for parameter in parameters_of(definition)]
    if not names:
        return question, "It takes no arguments."
    listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    return question, f"It takes {listed}."


def _place(definition: Definition, generator: random.Random) -> tuple[str, str]:
    question = generator.choice(("Where is it defined?", "Which module is it in?", "where do I find it?"))
    return question, f"It is defined in the module {definition.module.name}."


def _nature(definition: Definition, generator: random.Random) -> tuple[str, str]:
    question = generator.choice(("Is it a function or a class?", "What kind of thing is it?"))
    if definition.kind is DefinitionKind.METHOD:
        return question, f"It is a method of the class {definition.owner}."
    return question, f"It is a {definition.kind}."


# The first needs the parameters to be in view.
_FOLLOW_UPS: tuple[Callable[[Definition, random.Random], tuple[str, str]], ...] = (_arguments, _place, _nature)
