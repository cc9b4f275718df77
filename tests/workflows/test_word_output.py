"""Word reports as files that others read."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from banyan.core.errors import ConfigError
from banyan.workflows.word_output import check_word_file, write_words
from banyan.workflows.word_report import WordReport, WordScore

SCORE = WordScore(
    context="I like {word}",
    word='树, "tree"',
    pieces=(" 树", ","),
    log_prob=-3.5,
    log_prob_per_piece=-1.75,
    bits_per_byte=0.5,
    first_rank=7,
    rest_log_prob=None,
    continuation="\nand",
)
REPORT = WordReport(scores=(SCORE,), next_pieces={}, too_long=())


def test_a_csv_file_reads_back_as_it_was(tmp_path: Path) -> None:
    write_words(REPORT, tmp_path / "words.csv")
    with (tmp_path / "words.csv").open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert (row["word"], row["pieces"], row["continuation"]) == (SCORE.word, " 树|,", "\nand")
    assert (float(row["log_prob"]), int(row["first_rank"]), row["rest_log_prob"]) == (-3.5, 7, "")


def test_json_lines_hold_every_field(tmp_path: Path) -> None:
    write_words(REPORT, tmp_path / "words.jsonl")
    (line,) = (tmp_path / "words.jsonl").read_text("utf-8").splitlines()
    row = json.loads(line)
    assert row["pieces"] == [" 树", ","] and row["rest_log_prob"] is None and row["word"] == SCORE.word


def test_an_ending_that_says_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"words\.txt does not end in \.csv or \.jsonl"):
        check_word_file(Path("words.txt"))
