from __future__ import annotations

import random
from pathlib import Path

import pytest

from banyan.workflows.demo_data.library import LibraryModule, parse_quietly, read_library
from banyan.workflows.demo_data.tagging import tagging_rows

TEXT = """
import os.path as path
import sys
from urllib.parse import quote

class Shelf(dict, metaclass=Meta):
    @functools.wraps(function)
    def fetch(self, key: list[int], size=1.5, *rest) -> bool:
        value: int = 3
        found = path.join(self.root, 'two words', f"{key!r} more")  # why
        if isinstance(found, Shelf) and sys.maxsize:
            return [call(item, default=None) for item in found.parts()]
        raise ValueError
"""


def _tagged(text: str) -> dict[str, list[tuple[str, str]]]:
    module = LibraryModule(name="m", text=text, tree=parse_quietly(text))
    rows = tagging_rows([module], generator=random.Random(0))
    return {row["text"]: _entities(row["text"], row["tokens"], row["tags"]) for row in rows}


def _entities(text: str, tokens: list[str], tags: list[str]) -> list[tuple[str, str]]:
    found: list[tuple[str, int, int]] = []
    end = 0
    for token, tag in zip(tokens, tags, strict=True):
        start = text.index(token, end)
        end = start + len(token)
        if tag.startswith("B-"):
            found.append((tag[2:], start, end))
        elif tag.startswith("I-"):
            assert found[-1][0] == tag[2:]
            found[-1] = (found[-1][0], found[-1][1], end)
    return [(label, text[start:end]) for label, start, end in found]


@pytest.mark.parametrize(
    ("line", "entities"),
    [
        ("import os.path as path", [("module", "os.path")]),
        ("from urllib.parse import quote", [("module", "urllib.parse")]),
        ("class Shelf(dict, metaclass=Meta):", [("class", "Shelf"), ("class", "dict"), ("parameter", "metaclass")]),
        ("@functools.wraps(function)", [("decorator", "functools.wraps")]),
        (
            "def fetch(self, key: list[int], size=1.5, *rest) -> bool:",
            [
                ("function", "fetch"),
                ("parameter", "self"),
                ("parameter", "key"),
                ("type", "list[int]"),
                ("parameter", "size"),
                ("number", "1.5"),
                ("parameter", "rest"),
                ("type", "bool"),
            ],
        ),
        ("value: int = 3", [("type", "int"), ("number", "3")]),
        (
            "found = path.join(self.root, 'two words', f\"{key!r} more\")",
            [
                ("module", "path"),
                ("method", "join"),
                ("attribute", "root"),
                ("string", "'two words'"),
                ("string", 'f"{key!r} more"'),
            ],
        ),
        (
            "if isinstance(found, Shelf) and sys.maxsize:",
            [("function", "isinstance"), ("class", "Shelf"), ("module", "sys"), ("attribute", "maxsize")],
        ),
        (
            "return [call(item, default=None) for item in found.parts()]",
            [("function", "call"), ("parameter", "default"), ("method", "parts")],
        ),
        ("raise ValueError", None),
    ],
)
def test_a_line_is_tagged_with_what_its_names_are(line: str, entities: list[tuple[str, str]] | None) -> None:
    assert _tagged(TEXT).get(line) == entities  # None: too short to be an example


def test_lines_that_are_not_whole_statements_are_left_out() -> None:
    text = 'first = call(\n    argument_one, 1,\n)\n"""A docstring alone."""\nsecond = """abc\ndef = 4\n"""\n'
    assert _tagged(text) == {}


def test_tokens_stand_in_their_line_in_order_and_tags_are_legal(library: Path) -> None:
    rows = tagging_rows(read_library(library), generator=random.Random(0))
    assert len({row["text"] for row in rows}) == len(rows) > 100
    for row in rows:
        _entities(row["text"], row["tokens"], row["tags"])
        assert "".join(row["tokens"]) == row["text"].replace(" ", "")
