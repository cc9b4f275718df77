"""Every format gives its rows, and every wrong file one clear line."""

import gzip
from contextlib import suppress
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from banyan.core.errors import DataError, FileError, UnknownNameError
from banyan.data.sources import FORMATS, cut_text, detect_format, read_documents, read_rows


def _file(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


_GOOD_BAD = [{"text": "good", "label": "1"}, {"text": "bad, sad", "label": "0"}]

_FILES = {
    "a.txt": ("one\ntwo\n", "text", [{"text": "one\ntwo\n"}]),
    "crlf.md": ("\ufeffone\r\ntwo", "text", [{"text": "one\ntwo"}]),
    "a.jsonl": ('{"text": "é"}\n\n{"text": "b"}', "jsonl", [{"text": "é"}, {"text": "b"}]),
    "tagged.txt": ("Ada\tB-PER\nruns\tO\n", "conll", [{"tokens": ["Ada", "runs"], "tags": ["B-PER", "O"]}]),
    "a.csv": ('text,label\ngood,1\n"bad, sad",0\n', "csv", _GOOD_BAD),
    "a.tsv": ("text\tlabel\ngood\t1\nbad, sad\t0\n", "tsv", _GOOD_BAD),
    "list.json": ('[{"a": 1}, {"a": 2}]', "json", [{"a": 1}, {"a": 2}]),
    "a.conll": ("Ada B-PER\nruns O\n", "conll", [{"tokens": ["Ada", "runs"], "tags": ["B-PER", "O"]}]),
    "no_ending": ('{"a": 1}\n{"a": 2}\n', "jsonl", [{"a": 1}, {"a": 2}]),
}


@pytest.mark.parametrize("name", _FILES)
def test_a_file_gives_its_rows(tmp_path: Path, name: str) -> None:
    content, format, rows = _FILES[name]
    path = _file(tmp_path / name, content)
    assert detect_format(path) == format
    assert list(read_rows(path)) == rows == list(read_rows(str(path), format=format))


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "list.json", "a.csv", "a.tsv", "a.conll"])
@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_a_compressed_file_gives_the_same_rows(tmp_path: Path, name: str, ending: str) -> None:
    content, format, rows = _FILES[name]
    squeeze = gzip.compress if ending == ".gz" else zstandard.ZstdCompressor().compress
    path = _file(tmp_path / (name + ending), squeeze(content.encode()))
    assert detect_format(path) == format
    assert list(read_rows(path)) == rows


def test_two_aligned_files_give_translations(tmp_path: Path) -> None:
    _file(tmp_path / "train.en", "Hello\nBye\n")
    _file(tmp_path / "train.de", "Hallo\nTschüs\n")
    rows = list(read_rows(tmp_path / "train.{en,de}"))
    assert rows == [{"translation": {"en": "Hello", "de": "Hallo"}}, {"translation": {"en": "Bye", "de": "Tschüs"}}]


def test_languages_are_named_by_codes_where_the_files_name_them(tmp_path: Path) -> None:
    _file(tmp_path / "english/a.txt", "Hello\n")
    _file(tmp_path / "中文/a.txt", "你好\n")
    assert list(read_rows(tmp_path / "{english,中文}/a.txt")) == [{"translation": {"en": "Hello", "zh": "你好"}}]


def test_files_that_are_not_aligned_are_refused(tmp_path: Path) -> None:
    _file(tmp_path / "a.en", "Hello\nBye\n")
    _file(tmp_path / "a.de", "Hallo\n")
    with pytest.raises(DataError, match=r"a\.en goes on at line 2 where .*a\.de has ended"):
        list(read_rows(tmp_path / "a.{en,de}"))


def test_a_folder_gives_all_its_files_in_order(tmp_path: Path) -> None:
    _file(tmp_path / "b/two.md", "two")
    _file(tmp_path / "a.txt", "one")
    _file(tmp_path / "c.jsonl", '{"text": "three"}')
    _file(tmp_path / "empty.txt", "")
    _file(tmp_path / ".hidden.txt", "no")
    _file(tmp_path / "song.mp3", b"\0\0")
    assert [row["text"] for row in read_rows(tmp_path)] == ["one", "two", "three"]
    documents = list(read_documents(tmp_path))
    assert [document.identity for document in documents] == ["a.txt", "b/two.md", "c.jsonl:0"]
    assert {document.source for document in documents} == {str(tmp_path)}


@given(st.text(alphabet="ab \n", max_size=400))
def test_pieces_of_a_text_lose_nothing_but_white_space(text: str) -> None:
    pieces = list(cut_text(text, piece_characters=20))
    assert "".join("".join(pieces).split()) == "".join(text.split())
    assert all(0 < len(piece) <= 20 for piece in pieces)


def test_a_text_is_cut_at_blank_lines_first(tmp_path: Path) -> None:
    path = _file(tmp_path / "a.txt", "\n\n".join(["word " * 250] * 4))
    pieces = [row["text"] for row in read_rows(path, format="text_pieces")]
    assert pieces == [("word " * 250).strip()] * 4


def test_documents_come_from_the_named_column(tmp_path: Path) -> None:
    path = _file(tmp_path / "a.csv", "title,story\nA,once\n")
    assert [document.text for document in read_documents(path, column="story")] == ["once"]
    with pytest.raises(DataError, match="row 0 has no text in text or .*its columns: title, story"):
        list(read_documents(path))


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    for name in ("blank.jsonl", "blank.csv", "blank.conll"):
        with pytest.raises(DataError, match=f"{name} holds no rows"):
            list(read_rows(_file(tmp_path / name, "\n\n")))


def test_a_place_that_holds_no_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="holds no file of a known kind"):
        list(read_rows(tmp_path))
    with pytest.raises(FileError, match="not found"):
        list(read_rows(tmp_path / "none.{en,de}"))
    with pytest.raises(FileError, match="does not name two files"):
        list(read_rows(tmp_path / "a.txt", format="parallel"))


_FUZZED = ("txt", "jsonl", "json", "csv", "tsv", "conll", "parquet", "txt.gz", "jsonl.zst", "unknown")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.one_of(st.binary(max_size=200), st.text(alphabet='{}[]",:;\\ \n\r\tab1éOB-u\ud83c', max_size=80)),
    suffix=st.sampled_from(_FUZZED),
)
def test_no_content_raises_anything_but_our_own_errors(tmp_path: Path, data: bytes | str, suffix: str) -> None:
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    path = _file(tmp_path / f"fuzz.{suffix}", raw)
    with suppress(FileError, DataError):
        rows = list(read_rows(path))
        assert rows
        assert all(isinstance(row, dict) for row in rows)


def test_an_unknown_format_suggests_the_nearest(tmp_path: Path) -> None:
    path = _file(tmp_path / "a.txt", "a")
    with pytest.raises(UnknownNameError, match="did you mean jsonl"):
        list(read_rows(path, format="json_l"))


def test_every_format_has_a_reader() -> None:
    assert set(FORMATS) == {
        *("text", "jsonl", "json", "csv", "tsv", "parquet", "conll", "parallel", "pictures", "folder", "idx"),
        *("npz", "text_pieces"),
    }
