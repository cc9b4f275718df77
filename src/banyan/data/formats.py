"""The file formats Banyan reads, each as a function from one file to its rows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from banyan.core.errors import DataError, missing_extra
from banyan.core.types import Row
from banyan.data.opening import read_lines, read_whole, read_whole_text

_SURROGATE = re.compile("[\ud800-\udfff]")


def read_text_file(path: Path) -> Iterator[Row]:
    """Yield a whole text file as one row, {"text"}."""
    yield {"text": read_whole_text(path)}


def read_jsonl(path: Path) -> Iterator[Row]:
    """Yield one row per line, each a JSON object.

    Raises: DataError naming the line that is not one.
    """
    for number, line in enumerate(read_lines(path), 1):
        if line.strip():
            yield _as_row(_parse_json(line, where=f"{path} line {number}"), where=f"{path} line {number}")


def read_json(path: Path) -> Iterator[Row]:
    """Yield the rows of a JSON file: a list of objects, an object around such a list, SQuAD, or one object a line.

    Raises: DataError if it is not JSON or holds no list of objects.
    """
    text = read_whole_text(path)
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and error.lineno > 1:  # JSON lines under the wrong name
            yield from read_jsonl(path)
            return
        raise DataError(f"{path} is not valid JSON: {error.msg} (line {error.lineno} column {error.colno}).") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not valid JSON: {error}.") from error
    rows = _find_rows(without_lone_surrogates(value) if "\\ud" in text.lower() else value)
    for index, row in enumerate(rows):
        where = f"{path} item {index}"
        yield from flatten_squad(row, where=where) if is_squad_article(row) else [_as_row(row, where=where)]


def _find_rows(value: Any) -> list[Any]:
    """Return the list of objects inside a JSON value; an object without one is a row itself."""
    if isinstance(value, list):
        return value
    lists = [item for item in value.values() if _is_list_of_objects(item)] if isinstance(value, dict) else []
    is_a_wrapper = len(lists) == 1 and all(
        _is_list_of_objects(item) or not _is_container(item) for item in value.values()
    )
    return lists[0] if is_a_wrapper and "messages" not in value and "conversations" not in value else [value]


def _is_container(value: Any) -> bool:
    return isinstance(value, list | dict)


def _is_list_of_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def is_squad_article(row: Any) -> bool:
    """Tell a nested SQuAD article (paragraphs with questions) from an ordinary row."""
    return isinstance(row, dict) and isinstance(row.get("paragraphs"), list)


def flatten_squad(article: dict[str, Any], *, where: str) -> Iterator[Row]:
    """Yield one row per question of a nested SQuAD article: {"id", "context", "question", "answers"}.

    Raises: DataError if a paragraph or question lacks its fields.
    """
    try:
        for paragraph in article["paragraphs"]:
            for question in paragraph["qas"]:
                answers = [] if question.get("is_impossible") else question.get("answers", [])
                yield {
                    "id": str(question.get("id", "")),
                    "context": paragraph["context"],
                    "question": question["question"],
                    "answers": [{"text": answer["text"], "start": answer["answer_start"]} for answer in answers],
                }
    except (KeyError, TypeError, AttributeError) as error:
        problem = f"{error} is missing" if isinstance(error, KeyError) else "a field has the wrong type"
        raise DataError(f"{where}: a SQuAD article needs paragraphs with context and qas; {problem}.") from error


def _parse_json(text: str, *, where: str) -> Any:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{where} is not valid JSON: {error.msg} (column {error.colno}).") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is not valid JSON: {error}.") from error
    return without_lone_surrogates(value) if "\\ud" in text.lower() else value


def _as_row(value: Any, *, where: str) -> Row:
    if not isinstance(value, dict):
        raise DataError(f"{where} holds a {type(value).__name__}; every row must be a JSON object, {{…}}.")
    return value


def without_lone_surrogates(value: Any) -> Any:
    """Put U+FFFD where JSON's \\u escapes spell half a character, which no UTF-8 text can hold."""
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [without_lone_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {without_lone_surrogates(key): without_lone_surrogates(item) for key, item in value.items()}
    return value


def read_parquet(path: Path) -> Iterator[Row]:
    """Yield the rows of a Parquet file, batch by batch.

    Raises: MissingExtraError without pyarrow; DataError if the file is damaged.
    """
    try:
        import pyarrow  # an optional package
        from pyarrow import parquet
    except ImportError as error:
        raise missing_extra("pyarrow", "parquet", needed_for=f"reading {path}") from error
    try:
        source = pyarrow.BufferReader(read_whole(path)) if path.suffix != ".parquet" else path
        with parquet.ParquetFile(source) as file:
            for batch in file.iter_batches(batch_size=1024):
                yield from batch.to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from error


def read_conll(path: Path) -> Iterator[Row]:
    """Yield one sentence per row, {"tokens", "tags"}: token in the first column, tag in the last, blank lines between.

    Raises: DataError naming a line with fewer than two columns.
    """
    tokens: list[str] = []
    tags: list[str] = []
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            if tokens:
                yield {"tokens": tokens, "tags": tags}
                tokens, tags = [], []
            continue
        if line.startswith("-DOCSTART-") or (line.startswith("# ") and " = " in line):
            continue
        columns = line.split("\t") if "\t" in line else line.split()
        if len(columns) < 2:
            raise DataError(f"{path} line {number} has one column ({line[:40]!r}); CoNLL needs a token and a tag.")
        tokens.append(columns[0])
        tags.append(columns[-1].strip())
    if tokens:
        yield {"tokens": tokens, "tags": tags}
