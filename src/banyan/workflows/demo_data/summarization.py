"""summarization: a function's source without its docstring → the docstring's first line, {"document", "summary"}."""

from __future__ import annotations

import ast
import random
import re
import textwrap
from collections.abc import Sequence

from banyan.core.types import Row
from banyan.tasks.baselines.texts import split_name
from banyan.workflows.demo_data.classification import shorten_at_line
from banyan.workflows.demo_data.library import Definition

_SHORTEST_SUMMARY, _LONGEST_SUMMARY = 12, 120  # characters
_LONGEST_SOURCE = 900  # characters; of a longer function the first lines are kept
_LOOKS_LIKE_CODE = re.compile(r"^\W|->|\w\(.*\)\s*$|=")


def summarization_rows(definitions: Sequence[Definition], *, generator: random.Random) -> list[Row]:
    """Return every function that does something and whose docstring begins with a sentence, mixed."""
    rows: dict[str, Row] = {}
    for definition in definitions:
        summary = definition.first_line
        if isinstance(definition.node, ast.ClassDef) or not _is_sentence(summary):
            continue
        document = source_without_docstring(definition)
        if document is not None:
            rows.setdefault(document, _row(definition, document, summary))
    mixed = list(rows.values())
    generator.shuffle(mixed)
    return mixed


def _row(definition: Definition, document: str, summary: str) -> Row:
    name = definition.local_name
    return {
        "document": document,
        "summary": summary,
        "name": name,
        "words": split_name(name.rpartition(".")[2]),  # the name as the words a sentence would use
        "module": definition.module.name,
    }


def _is_sentence(line: str) -> bool:
    is_long_enough = _SHORTEST_SUMMARY <= len(line) <= _LONGEST_SUMMARY
    return is_long_enough and len(line.split()) > 2 and not _LOOKS_LIKE_CODE.search(line)


def source_without_docstring(definition: Definition) -> str | None:
    """Return a function's source without the docstring, as far left as it goes; None if nothing else is in it."""
    node = definition.node
    docstring, *rest = node.body
    if not rest or rest[0].lineno <= (docstring.end_lineno or 0):
        return None
    lines = definition.module.text.splitlines()
    kept = lines[node.lineno - 1 : docstring.lineno - 1] + lines[docstring.end_lineno : node.end_lineno]
    source = textwrap.dedent("\n".join(line.rstrip() for line in kept if line.strip()))
    return shorten_at_line(source, _LONGEST_SOURCE)
