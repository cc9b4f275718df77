from __future__ import annotations

import random
from pathlib import Path

import pytest

from banyan.workflows.demo_data.library import Definition, LibraryModule, definitions_of, parse_quietly, read_library
from banyan.workflows.demo_data.question_answering import _KINDS, context_of, question_answering_rows

TEXT = '''
class Shelf:
    def fetch(self, key: str, default=(1, 2), *rest):
        """Fetch one value.

        Returns the value that was stored. Raises KeyError where there is none.
        """
'''


def _method() -> Definition:
    (definition,) = definitions_of(LibraryModule(name="m", text=TEXT, tree=parse_quietly(TEXT)))
    return definition


def test_a_context_is_the_signature_and_the_docstring() -> None:
    text = context_of(_method()).text
    assert text.startswith("Shelf.fetch(key: str, default=(1, 2), *rest)\n\nFetch one value.\n\nReturns")


@pytest.mark.parametrize(
    ("kind", "answers"),
    [
        ("_defaults", {"default": "(1, 2)"}),
        ("_annotations", {"key": "str"}),
        ("_first_parameter", {"fetch": "key"}),
        ("_last_parameter", {"fetch": "rest"}),
        ("_next_parameter", {"key": "default", "default": "rest"}),
        ("_class_of_method", {"fetch": "Shelf"}),
        ("_purpose", {"fetch": "Fetch one value."}),
        ("_returned", {"fetch": "the value that was stored"}),
        ("_raised", {"fetch": "KeyError"}),
    ],
)
def test_each_kind_of_question_has_the_right_span(kind: str, answers: dict[str, str]) -> None:
    context = context_of(_method())
    (find,) = [find for find in _KINDS if find.__name__ == kind]
    found = list(find(context))
    assert {answered.subject: answered.text for answered in found} == answers
    for answered in found:
        assert context.text[answered.start : answered.start + len(answered.text)] == answered.text


def test_every_answer_is_a_literal_span_of_its_context(library: Path) -> None:
    definitions = [definition for module in read_library(library) for definition in definitions_of(module)]
    rows = question_answering_rows(definitions, generator=random.Random(0))
    assert len({row["id"] for row in rows}) == len(rows) > 200
    for row in rows:
        (answer,) = row["answers"]
        assert row["context"][answer["start"] :].startswith(answer["text"])
        assert answer["text"].strip() == answer["text"] != ""
