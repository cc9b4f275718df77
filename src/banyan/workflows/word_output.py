"""A word report as a file: CSV for a spreadsheet, JSON lines for a program."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from pathlib import Path

from banyan.core.errors import ConfigError
from banyan.core.files import atomic_write_text
from banyan.workflows.word_report import WordReport, WordScore

SUFFIXES = (".csv", ".jsonl")


def check_word_file(path: Path) -> None:
    """Make sure that the ending says how to write.

    Raises: ConfigError.
    """
    if path.suffix not in SUFFIXES:
        raise ConfigError(
            f"{path} does not end in {' or '.join(SUFFIXES)}, which say how the words are written.",
            hint=f"--out {path.with_suffix('.csv')}",
        )


def write_words(report: WordReport, path: Path) -> None:
    """Write one row for each word in each context.

    Raises: ConfigError if the ending is not known; SpaceError.
    """
    check_word_file(path)
    rows = [dataclasses.asdict(score) for score in report.scores]
    if path.suffix == ".jsonl":
        atomic_write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in dataclasses.fields(WordScore)])
    writer.writeheader()
    writer.writerows({**row, "pieces": "|".join(row["pieces"])} for row in rows)
    atomic_write_text(path, text.getvalue())
