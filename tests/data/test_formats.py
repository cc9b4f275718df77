"""JSON in its many forms, SQuAD, Parquet and CoNLL give rows, or one line about what is wrong."""

import json
from pathlib import Path

import pytest

from banyan.core.errors import DataError
from banyan.core.types import Row
from banyan.data.formats import read_conll, read_json, read_jsonl, read_parquet

_READERS = {".json": read_json, ".jsonl": read_jsonl, ".conll": read_conll, ".parquet": read_parquet}


def _read(folder: Path, name: str, content: str) -> list[Row]:
    path = folder / name
    path.write_bytes(content.encode())
    return list(_READERS[path.suffix](path))


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
_FILES = {
    "half.jsonl": ('{"text": "a\\ud800b"}', [{"text": "a\ufffdb"}]),
    "list.json": ('[{"a": 1}, {"a": 2}]', [{"a": 1}, {"a": 2}]),
    "wrapped.json": ('{"version": 1, "data": [{"a": 1}]}', [{"a": 1}]),
    "one.json": ('{"a": 1}', [{"a": 1}]),
    "lines.json": ('{"a": 1}\n{"a": 2}\n', [{"a": 1}, {"a": 2}]),
    "chat.json": ('{"messages": [{"role": "user"}]}', [{"messages": [{"role": "user"}]}]),
    "squad.json": (json.dumps(_SQUAD), _SQUAD_ROWS),
    "a.conll": (
        "-DOCSTART- O\n\nAda B-PER\nruns O\n\n\nBonn NNP B-LOC\n",
        [{"tokens": ["Ada", "runs"], "tags": ["B-PER", "O"]}, {"tokens": ["Bonn"], "tags": ["B-LOC"]}],
    ),
}


@pytest.mark.parametrize("name", _FILES)
def test_a_file_gives_its_rows(tmp_path: Path, name: str) -> None:
    content, rows = _FILES[name]
    assert _read(tmp_path, name, content) == rows


def test_parquet_gives_its_rows(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = [{"text": "a", "label": 0}, {"text": "中", "label": 1}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert list(read_parquet(tmp_path / "a.parquet")) == rows
    with pytest.raises(DataError, match=r"bad\.parquet cannot be read as Parquet"):
        _read(tmp_path, "bad.parquet", "PAR1 no")


_BAD_FILES = {
    "bad.jsonl": ('{"a": 1}\n{"a": \n', r"line 2 is not valid JSON: .*column"),
    "list.jsonl": ('{"a": 1}\n[1]\n', "line 2 holds a list"),
    "deep.jsonl": ("[" * 100_000 + "]" * 100_000, "line 1 is not valid JSON"),
    "bad.json": ('{"a": [}', r"not valid JSON: .*line 1 column 8"),
    "words.json": ('["a", "b"]', "item 0 holds a str"),
    "squad.json": ('{"data": [{"paragraphs": [{"qas": [{}]}]}]}', "item 0: a SQuAD article needs"),
    "one_column.conll": ("Ada B-PER\nruns\n", "line 2 has one column"),
}


@pytest.mark.parametrize("name", _BAD_FILES)
def test_a_wrong_file_is_one_line_that_names_it(tmp_path: Path, name: str) -> None:
    content, message = _BAD_FILES[name]
    with pytest.raises(DataError, match=message) as caught:
        _read(tmp_path, name, content)
    assert "\n" not in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)
