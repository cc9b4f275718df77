"""Tables are read whatever their delimiter, with and without a line of column names."""

from pathlib import Path

import pytest

from banyan.core.errors import DataError
from banyan.core.types import Row
from banyan.data.tables import read_csv, read_tsv


def _read(folder: Path, name: str, content: str) -> list[Row]:
    path = folder / name
    path.write_bytes(content.encode())
    return list(read_csv(path) if path.suffix == ".csv" else read_tsv(path))


_GOOD_BAD = [{"text": "good", "label": "1"}, {"text": "bad, sad", "label": "0"}]

_TABLES = {
    "a.csv": ('text,label\ngood,1\n"bad, sad",0\n', _GOOD_BAD),
    "semicolon.csv": ("text;label\ngood;1\nbad, sad;0\n", _GOOD_BAD),
    "old.csv": ("text,label\rgood,1\rbad;sad,0", [_GOOD_BAD[0], {"text": "bad;sad", "label": "0"}]),
    "quoted.csv": ('text,label\n"a\n""b""",1\n', [{"text": 'a\n"b"', "label": "1"}]),
    "a.tsv": ('text\tlabel\nsaid "hi\t1\n', [{"text": 'said "hi', "label": "1"}]),
    "spreadsheet.tsv": ('text\tlabel\n"said ""hi"""\t1\n', [{"text": 'said "hi"', "label": "1"}]),
    "nameless.tsv": (
        "Go.\tGeh.\nStop!\tHalt!\n",
        [{"column_1": "Go.", "column_2": "Geh."}, {"column_1": "Stop!", "column_2": "Halt!"}],
    ),
    "unknown_names.csv": (
        "kommentar,note\nsehr schönes Hotel am See,1\n",
        [{"kommentar": "sehr schönes Hotel am See", "note": "1"}],
    ),
    "empty.csv": ("text,label\n", []),
    "alone.csv": ("good,bad\n", [{"column_1": "good", "column_2": "bad"}]),
    "index.csv": (",text\n0,a\n1,b\n", [{"column_1": "0", "text": "a"}, {"column_1": "1", "text": "b"}]),
}


@pytest.mark.parametrize("name", _TABLES)
def test_a_table_gives_its_rows(tmp_path: Path, name: str) -> None:
    content, rows = _TABLES[name]
    assert _read(tmp_path, name, content) == rows


_BAD_TABLES = {
    "open.csv": ('text,label\n"never closed,1\nb,2\n', "cannot be read as CSV after line"),
    "ragged.csv": ("text,label\na,1\nb\n", "line 3 has 1 cells; the first line has 2"),
    "twice.csv": ("text,text\na,b\nc,d\n", "two columns named 'text'"),
}


@pytest.mark.parametrize("name", _BAD_TABLES)
def test_a_wrong_table_is_one_line_that_names_it(tmp_path: Path, name: str) -> None:
    content, message = _BAD_TABLES[name]
    with pytest.raises(DataError, match=message) as caught:
        _read(tmp_path, name, content)
    assert str(tmp_path / name) in str(caught.value)
