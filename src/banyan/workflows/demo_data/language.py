"""language_modeling: library code, the library's own reference pages, and Python's language reference → {"text"}."""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from banyan.core.types import Row
from banyan.workflows.demo_data.library import Definition, LibraryModule, parse_quietly
from banyan.workflows.demo_data.signatures import signature_text
from banyan.workflows.demo_data.splits import Split, split_of_entry

_TOPICS_FILE = "pydoc_data/topics.py"
_PASSAGE_CHARACTERS = 1_200


def module_rows(modules: Sequence[LibraryModule]) -> list[Row]:
    """Return each module's source as one document."""
    return [{"text": module.text, "group": "code", "module": module.name} for module in modules]


def reference_rows(definitions: Sequence[Definition]) -> list[Row]:
    """Return one reference page for each module: its docstring, then every signature with its docstring."""
    pages: dict[str, list[str]] = {}
    for definition in definitions:
        module = definition.module
        page = pages.setdefault(module.name, [f"{module.name}\n\n{module.docstring}".rstrip()])
        page.append(f"{signature_text(definition)}\n{definition.docstring}")
    return [
        {"text": "\n\n".join(page) + "\n", "group": "prose", "module": module_name}
        for module_name, page in pages.items()
    ]


def topic_rows(root: Path) -> dict[Split, list[Row]]:
    """Return the help texts that ship with `pydoc`, split by topic; none where the file is missing."""
    rows: dict[Split, list[Row]] = {split: [] for split in Split}
    try:
        tree = parse_quietly((root / _TOPICS_FILE).read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return rows
    for topic, text in _string_items(tree):
        key = f"topic {topic}"
        rows[split_of_entry(key)].append({"text": text.strip() + "\n", "group": "prose", "module": key})
    return rows


def _string_items(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and isinstance(value, ast.Constant) and isinstance(value.value, str):
                    yield str(key.value), value.value


def passages(rows: Sequence[Row], *, generator: random.Random) -> list[Row]:
    """Cut held-out documents into passages of about 1,200 characters that begin and end at lines, and mix them."""
    cut = [row | {"text": text} for row in rows for text in _cut(row["text"])]
    generator.shuffle(cut)
    return cut


def _cut(text: str) -> Iterator[str]:
    lines: list[str] = []
    size = 0
    for line in text.splitlines(keepends=True):
        if lines and size + len(line) > _PASSAGE_CHARACTERS:
            yield "".join(lines)
            lines, size = [], 0
        lines.append(line)
        size += len(line)
    if size > _PASSAGE_CHARACTERS // 4:
        yield "".join(lines)
