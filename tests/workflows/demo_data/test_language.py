from __future__ import annotations

import random
from pathlib import Path

from banyan.workflows.demo_data.language import module_rows, passages, reference_rows, topic_rows
from banyan.workflows.demo_data.library import definitions_of, read_library
from banyan.workflows.demo_data.splits import Split


def test_a_module_is_one_document_with_its_whole_text(library: Path) -> None:
    modules = read_library(library)
    assert [row["text"] for row in module_rows(modules)] == [module.text for module in modules]


def test_a_reference_page_shows_every_definition_with_its_signature(library: Path) -> None:
    module = next(module for module in read_library(library) if module.name == "csv")
    (row,) = reference_rows(definitions_of(module))
    assert row["text"].startswith("csv\n\nEverything about csvs")
    assert "Csv.open_csv(path, mode='r', *, size=10)\nOpen the csv at a path" in row["text"]
    assert "count_csv(values: list, start: int = 0)\nCount the csvs" in row["text"]


def test_help_topics_are_split_among_the_three_parts(library: Path, tmp_path: Path) -> None:
    topics = topic_rows(library)
    names = [row["module"] for split in Split for row in topics[split]]
    assert len(names) == len(set(names)) == 30
    assert topic_rows(tmp_path) == {split: [] for split in Split}


def test_passages_are_whole_lines_of_their_documents() -> None:
    text = "".join(f"line {index}\n" for index in range(1_000))
    cut = passages([{"text": text, "group": "code", "module": "m"}], generator=random.Random(0))
    lines = set(text.splitlines())
    assert len(cut) > 5
    for row in cut:
        assert len(row["text"]) <= 1_200
        assert set(row["text"].splitlines()) <= lines
