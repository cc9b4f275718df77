from __future__ import annotations

import ast
import random
from pathlib import Path

from banyan.workflows.demo_data.library import LibraryModule, definitions_of, parse_quietly, read_library
from banyan.workflows.demo_data.summarization import summarization_rows

TEXT = '''
class A:
    @decorated
    def one(self, a):
        """Return the first thing.

        More.
        """
        # a comment stays
        return a

    def only_a_docstring(self):
        """Return nothing at all."""

    def code(self):
        """code(self) -> None"""
        return None

    def same_line(self): "Return what stands behind."; return 1
'''


def test_a_document_is_the_function_without_its_docstring() -> None:
    module = LibraryModule(name="m", text=TEXT, tree=parse_quietly(TEXT))
    (row,) = summarization_rows(definitions_of(module), generator=random.Random(0))
    assert row["document"] == "def one(self, a):\n    # a comment stays\n    return a"
    assert (row["summary"], row["name"]) == ("Return the first thing.", "A.one")


def test_no_document_gives_its_summary_away(library: Path) -> None:
    definitions = [definition for module in read_library(library) for definition in definitions_of(module)]
    rows = summarization_rows(definitions, generator=random.Random(0))
    assert len(rows) > 100
    for row in rows:
        assert row["summary"] not in row["document"]
        ast.parse(row["document"])
