"""Words from files as people make them, bad ones included."""

from __future__ import annotations

from pathlib import Path

import pytest

from banyan.core.errors import BanyanError
from banyan.workflows.word_list import EMPTY, NOT_UTF8, REPEATED, TOO_LONG, read_words


def test_words_of_any_language_come_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("Äpfel\n苹果\nicy road\n", encoding="utf-8")
    assert read_words(path).words == ("Äpfel", "苹果", "icy road")


def test_a_byte_order_mark_and_foreign_line_ends_are_not_part_of_a_word(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\n two\t\rthree")
    assert read_words(path).words == ("one", "two", "three")


def test_lines_that_hold_no_word_are_counted_by_reason(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_bytes(b"one\n\n  \n\xff\xe9t\xe9\n" + b"x" * 10_000_000 + b"\none\ntwo\n")
    found = read_words(path)
    assert found.words == ("one", "two")
    assert found.left_out == {EMPTY: 2, NOT_UTF8: 1, TOO_LONG: 1, REPEATED: 1}


@pytest.mark.parametrize("content", [b"", b"\n \r\n", "eins".encode("utf-16"), b"\xe9\n\xe8\n", b"a\x00b\n"])
def test_a_file_without_a_word_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "words.txt"
    path.write_bytes(content)
    with pytest.raises(BanyanError) as caught:
        read_words(path)
    assert str(path) in caught.value.message and "\n" not in caught.value.message


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BanyanError, match="missing.txt not found"):
        read_words(tmp_path / "missing.txt")
