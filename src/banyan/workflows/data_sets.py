"""Data sets by name or path: which there are, what is in one, whether it is fit to learn from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path

from banyan.core.errors import ConfigError, DataError, FileError
from banyan.core.paths import data_directory
from banyan.core.registry import did_you_mean
from banyan.core.types import Row
from banyan.data.catalog import CATALOG, NO_ROWS, Dataset, find_dataset, is_known_variant, load_split
from banyan.data.checking import NEARLY, Contents, DataReport, Look, check_splits
from banyan.data.grouping import split_of
from banyan.data.kinds import Guess, guess_kind
from banyan.data.near_duplicates import LOWEST_SHARE
from banyan.data.sources import list_files, read_rows
from banyan.tasks.config import TaskConfig
from banyan.workflows.datasets import SPLITS, load_splits
from banyan.workflows.holding_out import as_asked
from banyan.workflows.recipe import Recipe, read_recipe

_SAMPLE_ROWS = 500  # looked at to find out what the columns of a file are
NEAR_SHARE = NEARLY  # of pairs of words, from which texts count as nearly the same unless asked otherwise


@dataclass(frozen=True, kw_only=True, slots=True)
class FileFacts:
    """One file of a catalogued data set, as it should be and as it is here."""

    split: str
    file: str
    num_rows: int | None
    sha256: str
    size_bytes: int | None = None  # None: it is not here
    is_known: bool | None = None  # whether the content is the variant we know


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetFacts:
    """What `data show` tells."""

    name: str
    kind: str
    languages: tuple[str, ...]
    licence: str
    source: str
    folder: str | None  # None: not here
    files: tuple[FileFacts, ...]
    examples: tuple[Row, ...] = ()


def list_datasets() -> list[DatasetFacts]:
    """Return what is known of every data set in the catalog; nothing is read."""
    return [_facts(dataset) for dataset in CATALOG.values()]


def show_dataset(name: str, *, num_examples: int = 3) -> DatasetFacts:
    """Return what is known of one data set, with its first rows if it is here.

    Raises: UnknownNameError for a name the catalog lacks; FileError or DataError if its files cannot be read.
    """
    dataset = CATALOG[name]
    if _folder(dataset) is None or dataset.kind in NO_ROWS:
        return _facts(dataset, looks_inside=True)
    first = next(iter(dataset.files))
    examples = tuple(islice(load_split(name, first), num_examples))
    return _facts(dataset, looks_inside=True, examples=examples)


def check_data(place: str, *, share: float | None = NEAR_SHARE) -> DataReport:
    """Check a data set of the catalog, a file, a folder whose files are named after their splits, or a recipe.

    Of a recipe every task's splits are compared, as a run would learn from them, and what one task is scored on with
    what the others learn from. `share` is how many of their pairs of words make two texts nearly the same.
    Raises: FileError if there is no such thing; DataError if a file cannot be read as rows; ConfigError for a recipe
    that is none.
    """
    if share is not None and not LOWEST_SHARE <= share <= 1:
        raise ConfigError(
            f"--near={share} cannot be used; it must lie between {LOWEST_SHARE} and 1.", hint="0 looks for none"
        )
    if Path(place).suffix in (".yaml", ".yml") and Path(place).is_file():
        return _check_recipe(read_recipe(Path(place)), share=share)
    return check_splits(dict(_splits_of(place)), share=share)


def _check_recipe(recipe: Recipe, *, share: float | None) -> DataReport:
    look = Look(share=share)
    known: dict[str, dict[str, Contents]] = {}
    for task in recipe.tasks:
        splits = load_splits(task, seed=recipe.seed)
        known[task.name] = {
            split: look.read(f"{task.name}/{split}", _asked(splits.named(split), task)) for split in SPLITS
        }
    within = [(own[SPLITS[at]], own[split]) for own in known.values() for at in (1, 2) for split in SPLITS[:at]]
    across = [
        (own[held_out], other["train"])
        for name, own in known.items()
        for held_out in SPLITS[1:]
        for other_name, other in known.items()
        if other_name != name
    ]
    return look.report([content for own in known.values() for content in own.values()], within + across)


def _asked(rows: Iterable[Row], task: TaskConfig) -> Iterator[Row]:
    return (as_asked(row, columns=task.data.columns, template=task.template) for row in rows)


def _splits_of(place: str) -> Iterator[tuple[str, Iterable[Row]]]:
    if place in CATALOG and not Path(place).exists():
        if CATALOG[place].kind in NO_ROWS:
            raise DataError(f"data set {place!r} holds a {CATALOG[place].kind}; there are no rows to check.")
        find_dataset(place)
        yield from ((split, load_split(place, split)) for split in CATALOG[place].files)
        return
    path = Path(place)
    if not path.exists():
        hint = f"no data set of the catalog is called so{did_you_mean(place, CATALOG)}"
        raise FileError(f"{place} not found.", hint=hint)
    yield from _as_recognised(files_by_split(path) if path.is_dir() else [(path.name, read_rows(path))])


def _as_recognised(splits: Iterable[tuple[str, Iterable[Row]]]) -> Iterator[tuple[str, Iterable[Row]]]:
    """Yield splits with the columns that `banyan init` takes those of the first one for."""
    guess: Guess | None = None
    for number, (split, rows) in enumerate(splits):
        left = iter(rows)
        sample = list(islice(left, 1))
        if not any("image" in row for row in sample):  # pictures are large, and have their names already
            sample += islice(left, _SAMPLE_ROWS - 1)
        guess = guess_kind(sample) if number == 0 else guess
        columns, template = ({}, None) if guess is None else (guess.columns, guess.options.get("template"))
        asked = partial(as_asked, columns=columns, template=template)
        yield split, map(asked, chain(sample, left))


def files_by_split(folder: Path) -> Iterator[tuple[str, Iterable[Row]]]:
    """Yield each split of a folder with its rows; without files named train, test … the folder is one split."""
    files = {split: [file for file in list_files(folder) if split_of(file) == split] for split in SPLITS}
    if not any(files.values()):
        yield folder.name, read_rows(folder)
        return
    for split, found in files.items():
        if found:
            yield split, (row for file in found for row in read_rows(file))


def _folder(dataset: Dataset) -> Path | None:
    root = data_directory()
    folder = root / dataset.name if root else None
    return folder if folder and folder.is_dir() else None


def _facts(dataset: Dataset, *, looks_inside: bool = False, examples: tuple[Row, ...] = ()) -> DatasetFacts:
    folder = _folder(dataset)
    files = tuple(_file_facts(dataset, split, folder, looks_inside=looks_inside) for split in dataset.files)
    return DatasetFacts(
        name=dataset.name,
        kind=dataset.kind,
        languages=dataset.languages,
        licence=dataset.licence,
        source=dataset.source,
        folder=str(folder) if folder else None,
        files=files,
        examples=examples,
    )


def _file_facts(dataset: Dataset, split: str, folder: Path | None, *, looks_inside: bool) -> FileFacts:
    file = dataset.files[split]
    path = folder / file.name if folder else None
    is_here = path is not None and path.is_file()
    return FileFacts(
        split=split,
        file=file.name,
        num_rows=file.num_rows,
        sha256=file.sha256,
        size_bytes=path.stat().st_size if path and is_here else None,
        is_known=is_known_variant(path, file.sha256) if path and is_here and looks_inside else None,
    )
