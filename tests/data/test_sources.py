"""Every format gives its rows, and every wrong file one clear line."""

import gzip
import json
import os
from contextlib import suppress
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from banyan.core.errors import BanyanError, DataError, FileError, UnknownNameError
from banyan.data.sources import FORMATS, cut_text, detect_format, read_documents, read_rows


def _file(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


_SQUAD = {
    "version": "1.1",
    "data": [
        {
            "title": "A",
            "paragraphs": [
                {
                    "context": "Ada wrote it.",
                    "qas": [
                        {"id": "1", "question": "Who?", "answers": [{"text": "Ada", "answer_start": 0}]},
                        {"id": 2, "question": "When?", "is_impossible": True, "answers": []},
                    ],
                }
            ],
        }
    ],
}
_SQUAD_ROWS = [
    {"id": "1", "context": "Ada wrote it.", "question": "Who?", "answers": [{"text": "Ada", "start": 0}]},
    {"id": "2", "context": "Ada wrote it.", "question": "When?", "answers": []},
]
_GOOD_BAD = [{"text": "good", "label": "1"}, {"text": "bad, sad", "label": "0"}]

_FILES = {
    "a.txt": ("one\ntwo\n", "text", [{"text": "one\ntwo\n"}]),
    "crlf.md": ("\ufeffone\r\ntwo", "text", [{"text": "one\ntwo"}]),
    "a.jsonl": ('{"text": "é"}\n\n{"text": "b"}', "jsonl", [{"text": "é"}, {"text": "b"}]),
    "half.jsonl": ('{"text": "a\\ud800b"}', "jsonl", [{"text": "a?b"}]),
    "list.json": ('[{"a": 1}, {"a": 2}]', "json", [{"a": 1}, {"a": 2}]),
    "wrapped.json": ('{"version": 1, "data": [{"a": 1}]}', "json", [{"a": 1}]),
    "one.json": ('{"a": 1}', "json", [{"a": 1}]),
    "lines.json": ('{"a": 1}\n{"a": 2}\n', "json", [{"a": 1}, {"a": 2}]),
    "chat.json": ('{"messages": [{"role": "user"}]}', "json", [{"messages": [{"role": "user"}]}]),
    "squad.json": (json.dumps(_SQUAD), "json", _SQUAD_ROWS),
    "a.csv": ('text,label\ngood,1\n"bad, sad",0\n', "csv", _GOOD_BAD),
    "semicolon.csv": ("text;label\ngood;1\nbad, sad;0\n", "csv", _GOOD_BAD),
    "old.csv": ("text,label\rgood,1\rbad;sad,0", "csv", [_GOOD_BAD[0], {"text": "bad;sad", "label": "0"}]),
    "quoted.csv": ('text,label\n"a\n""b""",1\n', "csv", [{"text": 'a\n"b"', "label": "1"}]),
    "a.tsv": ('text\tlabel\nsaid "hi\t1\n', "tsv", [{"text": 'said "hi', "label": "1"}]),
    "spreadsheet.tsv": ('text\tlabel\n"said ""hi"""\t1\n', "tsv", [{"text": 'said "hi"', "label": "1"}]),
    "nameless.tsv": (
        "Go.\tGeh.\nStop!\tHalt!\n",
        "tsv",
        [{"column_1": "Go.", "column_2": "Geh."}, {"column_1": "Stop!", "column_2": "Halt!"}],
    ),
    "unknown_names.csv": (
        "kommentar,note\nsehr schönes Hotel am See,1\n",
        "csv",
        [{"kommentar": "sehr schönes Hotel am See", "note": "1"}],
    ),
    "index.csv": (",text\n0,a\n1,b\n", "csv", [{"column_1": "0", "text": "a"}, {"column_1": "1", "text": "b"}]),
    "a.conll": (
        "-DOCSTART- O\n\nAda B-PER\nruns O\n\n\nBonn NNP B-LOC\n",
        "conll",
        [{"tokens": ["Ada", "runs"], "tags": ["B-PER", "O"]}, {"tokens": ["Bonn"], "tags": ["B-LOC"]}],
    ),
    "tagged.txt": ("Ada\tB-PER\nruns\tO\n", "conll", [{"tokens": ["Ada", "runs"], "tags": ["B-PER", "O"]}]),
    "no_ending": ('{"a": 1}\n{"a": 2}\n', "jsonl", [{"a": 1}, {"a": 2}]),
}


@pytest.mark.parametrize("name", _FILES)
def test_a_file_gives_its_rows(tmp_path: Path, name: str) -> None:
    content, format, rows = _FILES[name]
    path = _file(tmp_path / name, content)
    assert detect_format(path) == format
    assert list(read_rows(path)) == rows == list(read_rows(str(path), format=format))


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "squad.json", "a.csv", "a.tsv", "a.conll"])
@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_a_compressed_file_gives_the_same_rows(tmp_path: Path, name: str, ending: str) -> None:
    content, format, rows = _FILES[name]
    squeeze = gzip.compress if ending == ".gz" else zstandard.ZstdCompressor().compress
    path = _file(tmp_path / (name + ending), squeeze(content.encode()))
    assert detect_format(path) == format
    assert list(read_rows(path)) == rows


def test_several_compressed_frames_are_one_file(tmp_path: Path) -> None:
    lines = [b'{"a": 1}\n', b'{"a": 2}\n']
    path = _file(tmp_path / "a.jsonl.zst", b"".join(map(zstandard.ZstdCompressor().compress, lines)))
    assert list(read_rows(path)) == [{"a": 1}, {"a": 2}]


def test_parquet_gives_its_rows(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = [{"text": "a", "label": 0}, {"text": "中", "label": 1}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert list(read_rows(tmp_path / "a.parquet")) == rows
    _file(tmp_path / "bad.parquet", b"PAR1 no")
    with pytest.raises(DataError, match=r"bad\.parquet cannot be read as Parquet"):
        list(read_rows(tmp_path / "bad.parquet"))


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


def test_a_line_longer_than_a_reading_piece_stays_whole(tmp_path: Path) -> None:
    text = "é" * 1_500_000
    path = _file(tmp_path / "a.jsonl", json.dumps({"text": text}, ensure_ascii=False) + '\n{"text": "b"}')
    assert [row["text"] for row in read_rows(path)] == [text, "b"]


def test_documents_come_from_the_named_column(tmp_path: Path) -> None:
    path = _file(tmp_path / "a.csv", "title,story\nA,once\n")
    assert [document.text for document in read_documents(path, column="story")] == ["once"]
    with pytest.raises(DataError, match="row 0 has no text in text or .*its columns: title, story"):
        list(read_documents(path))


_TEXT = os.urandom(4000).hex().encode()
_GZIPPED = gzip.compress(_TEXT)
_BAD_FILES: dict[str, tuple[str | bytes, type[BanyanError], str]] = {
    "empty.txt": ("", DataError, "is empty"),
    "blank.jsonl": ("\n\n", DataError, "holds no rows"),
    "names_only.csv": ("\n", DataError, "holds no rows"),
    "binary.txt": (b"abc\0def", FileError, "is a binary file"),
    "utf16.txt": ("abc".encode("utf-16"), FileError, "is UTF-16"),
    "zip.txt": (b"PK\x03\x04abc", FileError, "is a zip archive"),
    "latin.txt": ("naïve".encode("latin-1"), FileError, r"not UTF-8 at byte 2 \(0xef\)"),
    "latin.csv": (b"text,label\nok,1\nna\xefve,1\n", FileError, r"not UTF-8 at byte 18 \(0xef\)"),
    "cut.txt.gz": (_GZIPPED[:-1000], FileError, "is cut off"),
    "broken.txt.gz": (b"not gzip at all", FileError, "cannot be decompressed"),
    "damaged.txt.gz": (_GZIPPED[:100] + b"\xff" * 50 + _GZIPPED[150:], FileError, "cannot be decompressed"),
    "cut.txt.zst": (zstandard.ZstdCompressor().compress(_TEXT)[:-9], FileError, "is cut off"),
    "broken.txt.zst": (b"not zstd at all", FileError, "cannot be decompressed"),
    "bad.jsonl": ('{"a": 1}\n{"a": \n', DataError, r"line 2 is not valid JSON: .*column"),
    "list.jsonl": ('{"a": 1}\n[1]\n', DataError, "line 2 holds a list"),
    "deep.jsonl": ("[" * 100_000 + "]" * 100_000, DataError, "line 1 is not valid JSON"),
    "bad.json": ('{"a": [}', DataError, r"not valid JSON: .*line 1 column 8"),
    "words.json": ('["a", "b"]', DataError, "item 0 holds a str"),
    "squad.json": ('{"data": [{"paragraphs": [{"qas": [{}]}]}]}', DataError, "item 0: a SQuAD article needs"),
    "open.csv": ('text,label\n"never closed,1\nb,2\n', DataError, "cannot be read as CSV after line"),
    "ragged.csv": ("text,label\na,1\nb\n", DataError, "line 3 has 1 cells; the first line has 2"),
    "twice.csv": ("text,text\na,b\nc,d\n", DataError, "two columns named 'text'"),
    "one_column.conll": ("Ada B-PER\nruns\n", DataError, "line 2 has one column"),
}


@pytest.mark.parametrize("name", _BAD_FILES)
def test_a_wrong_file_is_one_clear_line_that_names_it(tmp_path: Path, name: str) -> None:
    content, kind, message = _BAD_FILES[name]
    path = _file(tmp_path / name, content)
    with pytest.raises(kind, match=message) as caught:
        list(read_rows(path))
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


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


def test_what_is_not_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="not found"):
        list(read_rows(tmp_path / "none.txt"))
    with pytest.raises(FileError, match="not found"):
        list(read_rows(tmp_path / "none.{en,de}"))
    with pytest.raises(FileError, match="does not name two files"):
        list(read_rows(tmp_path / "a.txt", format="parallel"))
    with pytest.raises(FileError, match="holds no file of a known kind"):
        list(read_rows(tmp_path))
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(FileError, match="cannot read"):
        list(read_rows(tmp_path / "loop"))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileError, match="neither a file nor a folder"):
        list(read_rows(tmp_path / "pipe"))


def test_an_unknown_format_suggests_the_nearest(tmp_path: Path) -> None:
    path = _file(tmp_path / "a.txt", "a")
    with pytest.raises(UnknownNameError, match="did you mean jsonl"):
        list(read_rows(path, format="json_l"))


def test_every_format_has_a_reader() -> None:
    assert set(FORMATS) == {
        *("text", "jsonl", "json", "csv", "tsv", "parquet", "conll", "parallel", "pictures", "folder"),
        "text_pieces",
    }
