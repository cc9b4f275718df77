"""A task's data as a recipe names it → rows for training, validation and test."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from banyan.core.errors import DataError, FileError
from banyan.core.types import Row
from banyan.data.catalog import CATALOG, load_split
from banyan.data.corpus import CORPUS_FILE
from banyan.data.sources import read_rows
from banyan.tasks.captioning import Captioning
from banyan.tasks.config import TaskConfig, TaskDataConfig
from banyan.tasks.image_generation import ImageGeneration
from banyan.tasks.picture_uris import read_shown_picture
from banyan.tasks.registry import TASK_KINDS
from banyan.workflows.holding_out import hold_out

T = TypeVar("T")
SPLITS = ("train", "validation", "test")
_TOLD = (ImageGeneration.kind, Captioning.kind)  # tasks in which every picture has a caption


@dataclass(frozen=True, kw_only=True, slots=True)
class Splits:
    """The rows of one task. A split that the recipe does not name is empty."""

    train: tuple[Row, ...]
    validation: tuple[Row, ...]
    test: tuple[Row, ...]
    described_by: tuple[Row, ...]  # the training rows with those held out from them: a task's labels are found there
    prepared: Path | None = None  # a folder of shards, in place of training rows

    def named(self, split: str) -> tuple[Row, ...]:
        """Return one split by its name."""
        rows: tuple[Row, ...] = getattr(self, split)
        return rows


def load_splits(task: TaskConfig, *, seed: int) -> Splits:
    """Read all splits of a task; what is not named is held out from the training rows if the recipe says so.

    Raises: FileError, DataError with the place that is wrong; DataError if there is nothing to learn from.
    """
    data = task.data
    if (prepared := prepared_folder(data.train)) is not None:
        return _beside_shards(task, prepared)
    rows = {split: list(read_places(getattr(data, split), split, data)) for split in SPLITS}
    if not rows["train"]:
        raise DataError(
            f"task {task.name}: data.train={data.train!r} holds no rows; there is nothing to learn from.",
            hint="name a file, a folder or a data set of the catalog (banyan data list)",
        )
    all_rows = tuple(rows["train"])
    shares = {"validation": data.validation_fraction, "test": data.test_fraction}
    has_pictures = TASK_KINDS[task.kind].has_pictures
    is_usable = partial(_is_usable, needs_text=task.kind in _TOLD and not (task.template or task.captions))
    hold_out(
        rows,
        shares,
        columns=data.columns,
        template=task.template,
        seed=seed,
        has_pictures=has_pictures,
        is_usable=is_usable,
    )
    train, validation, test = (tuple(spread(rows[split], data.max_examples)) for split in SPLITS)
    return Splits(train=train, validation=validation, test=test, described_by=all_rows)


def _is_usable(row: Row, *, needs_text: bool) -> bool:
    """Whether a row's picture can be read, and is called something where that is needed."""
    text = row.get("text")
    if needs_text and isinstance(text, str) and not text.strip():
        return False
    try:
        read_shown_picture(row.get("image"))
    except DataError:
        return False
    return True


def prepared_folder(place: str | list[str] | None) -> Path | None:
    """Return the folder of prepared shards that a recipe names, or None if it names something else."""
    return Path(place) if isinstance(place, str) and (Path(place) / CORPUS_FILE).is_file() else None


def _beside_shards(task: TaskConfig, prepared: Path) -> Splits:
    data = task.data
    if task.kind != "language_modeling":
        raise DataError(
            f"task {task.name}: {prepared} holds prepared shards, which only language_modeling reads; "
            f"a {task.kind} task needs rows.",
            hint="name the file or folder of its examples",
        )
    if data.validation_fraction or data.test_fraction:
        raise DataError(
            f"task {task.name}: no share can be held out from the prepared shards of {prepared}.",
            hint="name texts as data.validation and data.test, and leave the fractions out",
        )
    validation, test = (
        tuple(spread(list(read_places(getattr(data, split), split, data)), data.max_examples))
        for split in ("validation", "test")
    )
    return Splits(train=(), validation=validation, test=test, described_by=(), prepared=prepared)


def spread(items: Sequence[T], limit: int | None) -> Sequence[T]:
    """Return at most `limit` items in their order, taken evenly: the first ones of a sorted file would be no sample."""
    if limit is None or limit >= len(items):
        return items
    return [items[number * len(items) // limit] for number in range(limit)]


def resolve_places(data: TaskDataConfig) -> dict[str, str | list[str] | None]:
    """Return where each split lies with absolute paths, so that a saved recipe runs from anywhere."""
    return {split: absolute_place(getattr(data, split)) for split in SPLITS}


def absolute_place(place: str | list[str] | None) -> str | list[str] | None:
    """Return where data lies with absolute paths; a name of the catalog stays as it is."""
    if isinstance(place, list):
        return [str(absolute_place(one)) for one in place]
    return place if place is None or _in_catalog(place, "") is not None else str(Path(place).absolute())


def _in_catalog(place: str, split: str) -> tuple[str, str] | None:
    """Return the data set and the split of it that a place means, or None if it means a file or a folder.

    `ag_news:train_extra` names a split; `ag_news` alone means the one that is asked for.
    """
    name, _, own_split = place.partition(":")
    return None if name not in CATALOG or Path(place).exists() else (name, own_split or split)


def read_places(place: str | Sequence[str] | None, split: str, data: TaskDataConfig) -> Iterator[Row]:
    """Yield the rows of files, folders and data sets of the catalog, one after the other.

    Raises: FileError, DataError for a place that cannot be read.
    """
    for one in [place] if isinstance(place, str) else place or ():
        if (found := _in_catalog(one, split)) is not None:
            yield from load_split(*found)
        else:
            yield from _read_path(one, split, data)


def _read_path(place: str, split: str, data: TaskDataConfig) -> Iterator[Row]:
    if not Path(place).exists() and "{" not in place:
        raise FileError(
            f"{place} is neither a file or folder nor a data set of the catalog.",
            hint="name your own as data.train (in a task: tasks.NAME.data.train), or see banyan data list",
        )
    if (Path(place) / CORPUS_FILE).is_file():
        raise DataError(
            f"{place} holds prepared shards; they can only be all of data.train, not a part of it or another split.",
            hint="name the shards alone as data.train, and texts for the other splits",
        )
    yield from read_rows(place, format=data.format, split=split)
