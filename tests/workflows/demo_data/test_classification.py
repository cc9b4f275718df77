from __future__ import annotations

import random
from pathlib import Path

from banyan.workflows.demo_data.areas import area_of
from banyan.workflows.demo_data.classification import classification_rows, shorten_at_line
from banyan.workflows.demo_data.library import definitions_of, read_library


def test_every_docstring_appears_once_with_the_area_of_its_module(library: Path) -> None:
    modules = read_library(library)
    definitions = [definition for module in modules for definition in definitions_of(module)]
    rows = classification_rows(modules, definitions, generator=random.Random(0))
    texts = [row["text"] for row in rows]
    assert len(set(texts)) == len(texts) > 100
    assert all(row["label"] == area_of(row["module"]) for row in rows)
    assert any(text.startswith("Everything about") for text in texts)


def test_a_long_text_is_cut_at_a_line_end() -> None:
    assert shorten_at_line("ab\ncd\nef", 5) == "ab\ncd"
    assert shorten_at_line("ab\ncd\nef", 6) == "ab\ncd"
    assert shorten_at_line("ab\ncd", 5) == "ab\ncd"
    assert shorten_at_line("abcdef\ngh", 4) == "abcd"
