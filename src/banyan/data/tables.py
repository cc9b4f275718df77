"""Tables in text form: CSV with its delimiter found out, TSV, with or without a line of column names."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

from banyan.core.errors import DataError
from banyan.core.types import Row
from banyan.data.opening import read_lines

_SAMPLE_ROWS = 20
_MAX_CELL_CHARACTERS = 1 << 26
_COLUMN_NAME = re.compile(r"[^\W\d][\w .:/()#-]{0,39}")
_NAMES = """
text sentence review comment content body title question query utterance message tweet document article dialogue
label labels label_name category class sentiment intent topic target tag rating score polarity source summary highlights
answer answers context prompt instruction input output response completion caption description
image file file_name filename path id src tgt en de zh fr es it nl pt ru ja ko english german chinese french spanish
"""
KNOWN_COLUMNS = frozenset(_NAMES.split())


def read_csv(path: Path) -> Iterator[Row]:
    """Yield the rows of a CSV file; the delimiter is comma, semicolon or tab, whichever splits it evenly.

    Raises: DataError naming the line if a quote is left open or a row has too many or too few cells.
    """
    csv.field_size_limit(_MAX_CELL_CHARACTERS)  # the module's own limit, 128 KiB, is less than a long article
    delimiter = _find_delimiter(list(islice(_lines_with_ends(path), 200)))
    reader = csv.reader(_lines_with_ends(path), delimiter=delimiter, strict=True)
    return _as_rows(path, _number_cells(path, reader))


def _lines_with_ends(path: Path) -> Iterator[str]:
    """Yield lines as the csv module wants them; old spreadsheets end theirs with CR alone."""
    return (part + "\n" for line in read_lines(path) for part in line.split("\r"))


def read_tsv(path: Path) -> Iterator[Row]:
    """Yield the rows of a TSV file; a quotation mark is an ordinary character, as corpora use it.

    Raises: DataError naming the line if a row has too many or too few cells.
    """
    lines = ((number, line) for number, line in enumerate(read_lines(path), 1) if line.strip())
    return _as_rows(path, ((number, [_unquote(cell) for cell in line.split("\t")]) for number, line in lines))


def _number_cells(path: Path, reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    number = 0
    try:
        for cells in reader:
            number = reader.line_num  # type: ignore[attr-defined]
            if any(cell.strip() for cell in cells):
                yield number, cells
    except csv.Error as error:
        raise DataError(
            f"{path} cannot be read as CSV after line {number}: {error}.",
            hint='close every quote, and write a quote inside a quoted cell twice ("")',
        ) from error


def _as_rows(path: Path, numbered: Iterator[tuple[int, list[str]]]) -> Iterator[Row]:
    sample = list(islice(numbered, _SAMPLE_ROWS))
    if not sample:
        return
    cells = [row for _, row in sample]
    has_names = _has_column_names(cells)
    names = _column_names(path, cells[0]) if has_names else [f"column_{i + 1}" for i in range(len(cells[0]))]
    for number, row in chain(sample[has_names:], numbered):
        if len(row) != len(names):
            raise DataError(f"{path} line {number} has {len(row)} cells; the first line has {len(names)}.")
        yield dict(zip(names, row, strict=True))


def _column_names(path: Path, cells: Sequence[str]) -> list[str]:
    names = [cell.strip() or f"column_{i + 1}" for i, cell in enumerate(cells)]
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"{path} has two columns named {name!r}; column names must differ.")
    return names


def _has_column_names(rows: Sequence[Sequence[str]]) -> bool:
    """Tell a line of column names from a row: by well-known names, or by how it differs from the rows below."""
    first, below = [cell.strip() for cell in rows[0]], rows[1:]
    named = [cell for cell in first if cell]
    if not below:  # names alone, or one row
        return len(named) > 1 and all(cell.lower() in KNOWN_COLUMNS for cell in named)
    if not all(_COLUMN_NAME.fullmatch(cell) for cell in named):
        return False
    if any(cell.lower() in KNOWN_COLUMNS for cell in named):
        return True
    if len(set(named)) < len(named):
        return False
    columns = [[row[i] for row in below if i < len(row)] for i in range(len(first))]
    return any(_differs(name, column) for name, column in zip(first, columns, strict=True) if name)


def _differs(name: str, column: Sequence[str]) -> bool:
    are_numbers = all(_is_number(cell) for cell in column)
    mean_length = sum(map(len, column)) / max(1, len(column))
    return are_numbers or (name not in column and mean_length > 3 * len(name))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _find_delimiter(lines: Sequence[str]) -> str:
    def evenness(delimiter: str) -> tuple[int, int]:
        try:
            widths = [len(row) for row in csv.reader(lines, delimiter=delimiter) if row]
        except csv.Error:
            return 0, 0
        commonest = max(set(widths), key=widths.count, default=1)
        return (widths.count(commonest) if commonest > 1 else 0), commonest

    return max(",;\t", key=evenness)


def _unquote(cell: str) -> str:
    """Undo the quoting that spreadsheets add to a cell with quotes inside; quotes that belong to the text stay."""
    inner = cell[1:-1]
    is_quoted = cell.startswith('"') and cell.endswith('"') and '""' in inner and '"' not in inner.replace('""', "")
    return inner.replace('""', '"') if is_quoted else cell
