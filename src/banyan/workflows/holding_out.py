"""Which training rows are held out, for the splits that have no rows of their own.

Texts go by an order that the seed draws. A picture goes by its content alone: the tokenizer, the model that draws and
the judge are three recipes, and none of them may learn what another one is tested on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from itertools import islice, takewhile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from banyan.core.errors import DataError
from banyan.core.types import Image, Row
from banyan.data.catalog_rows import ANSWERS
from banyan.data.checking import source_fingerprint
from banyan.tasks.rows import fill_template


def hold_out(
    rows: dict[str, list[Row]],
    shares: Mapping[str, float],
    *,
    columns: Mapping[str, str],
    seed: int,
    has_pictures: bool,
    template: str | None = None,
    is_usable: Callable[[Row], bool] = lambda row: True,
) -> None:
    """Move a share of the training rows to each split that has none.

    Rows that ask the same go the same way, so that no split gives away the answers of another. Pictures that cannot be
    used stay with the training rows, which leave out a few of them and count them; held-out rows are all used.
    Raises: DataError if there are too few different rows.
    """
    wanted = {split: share for split, share in shares.items() if share and not rows[split]}
    if not wanted:
        return
    train = [as_asked(row, columns=columns, template=template) for row in rows["train"]]
    chosen = _by_picture(train, wanted, is_usable) if has_pictures else _by_seed(train, wanted, seed=seed)
    held_out = {number for numbers in chosen.values() for number in numbers}
    all_rows = rows["train"]
    for split, numbers in chosen.items():
        rows[split] = [all_rows[number] for number in numbers]
    rows["train"] = [row for number, row in enumerate(all_rows) if number not in held_out]
    if not all(rows[split] for split in ("train", *wanted)):
        places = {place_of_picture(row.get("image")) for row in train} if has_pictures else set()
        num_different = len(places) or len(_rows_alike(train))
        raise DataError(
            f"{len(train)} rows, {num_different} of them different, are too few to hold out {wanted}; each split needs "
            "a row that no other has.",
            hint="name files for the splits, or give more rows",
        )


def as_asked(row: Row, *, columns: Mapping[str, str], template: str | None) -> Row:
    """Return a row under our column names alone, with the text that a task's template makes of it."""
    named = {ours: row[theirs] for ours, theirs in columns.items() if theirs in row}
    if "image" in {**row, **named}:  # what counts is the picture, whatever it is called
        return {**row, **named}
    renamed = {name: value for name, value in row.items() if name not in columns.values()} | named
    if template is None:
        return renamed
    try:
        text = fill_template(template, {**row, **named})
    except DataError:  # of a row that cannot be read, training speaks
        return renamed
    return {"text": text, **{name: renamed[name] for name in ANSWERS if name in renamed}}


def _by_seed(train: Sequence[Row], wanted: Mapping[str, float], *, seed: int) -> dict[str, list[int]]:
    """Return the numbers of the rows of each split, in an order that depends on the seed alone."""
    alike = _rows_alike(train)
    order = np.random.default_rng([seed, len(train)]).permutation(len(alike))
    waiting, chosen = [alike[place] for place in order], {}
    for split, share in wanted.items():
        taken, waiting = _take(waiting, max(1, round(share * len(train))))
        chosen[split] = [number for group in taken for number in group]
    return chosen


def _rows_alike(train: Sequence[Row]) -> list[list[int]]:
    """Return the numbers of the rows, those together that ask the same."""
    alike: dict[bytes | int, list[int]] = {}
    for number, row in enumerate(train):
        alike.setdefault(source_fingerprint(row) or number, []).append(number)
    return list(alike.values())


def _take(waiting: list[list[int]], num_rows: int) -> tuple[list[list[int]], list[list[int]]]:
    """Split groups into those that are taken, from the front as long as they fit, and the rest; at least one is."""
    room = max(num_rows, min(map(len, waiting), default=0))
    taken: list[list[int]] = []
    rest: list[list[int]] = []
    for group in waiting:
        fits = len(group) <= room
        (taken if fits else rest).append(group)
        room -= len(group) if fits else 0
    return taken, rest


def _by_picture(
    train: Sequence[Row], wanted: Mapping[str, float], is_usable: Callable[[Row], bool]
) -> dict[str, list[int]]:
    """Return the numbers of the rows of each split: the test has the lowest places, the validation the highest.

    So a larger share holds out what a smaller one does and more, whichever other split is held out beside it, and
    pictures that are added later move none of the others. Of a few pictures at least one is taken.
    The first ones of a split are a sample of it, however the files are sorted.
    """
    places = np.array([place_of_picture(row.get("image")) for row in train])
    is_free = np.ones(len(train), dtype=bool)
    chosen: dict[str, list[int]] = {}
    for split, share in wanted.items():
        distances = np.where(is_free, places if split == "test" else 1 - places, np.inf)
        order = np.argsort(distances, kind="stable")[: is_free.sum()].tolist()
        usable = (number for number in order if is_usable(train[number]))  # only those that are near are looked at
        chosen[split] = _within(share, usable, distances)
        is_free[chosen[split]] = False
    return chosen


def _within(share: float, numbers: Iterator[int], distances: NDArray[np.float64]) -> list[int]:
    """Return the numbers, nearest first, that lie within a share; where none does, those at the nearest place."""
    first = list(islice(numbers, 1))
    reach = max([share, *distances[first]])
    return first + list(takewhile(lambda number: distances[number] <= reach, numbers))


def place_of_picture(value: Any) -> float:
    """Return a number from 0 to 1 that depends on nothing but a picture as a row holds it: its file, or its samples."""
    return int.from_bytes(sha256(_content_of(value)).digest()[:6], "big") / 2**48


def _content_of(value: Any) -> bytes:
    if isinstance(value, Mapping):
        value = next((value[name] for name in ("bytes", "path", "pixels") if value.get(name) is not None), None)
    if isinstance(value, Image):
        return value.pixels
    if isinstance(value, str | Path):
        with suppress(OSError, ValueError):  # what cannot be read as a file has to do by its name
            return Path(value).read_bytes()
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")
