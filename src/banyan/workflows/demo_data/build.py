"""Building all the demo's data: eight tasks, three splits each, as JSON lines, with a check for leaks."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from banyan.core.errors import DataError
from banyan.core.files import atomic_write_json, atomic_write_text, read_json
from banyan.core.memory import without_collector
from banyan.core.types import Row
from banyan.workflows.demo_data.classification import classification_rows
from banyan.workflows.demo_data.dialogue import dialogue_rows
from banyan.workflows.demo_data.digits import digit_rows
from banyan.workflows.demo_data.language import module_rows, passages, reference_rows, topic_rows
from banyan.workflows.demo_data.leakage import LeakageReport, TrainingText, count_leaks
from banyan.workflows.demo_data.library import (
    Definition,
    LibraryModule,
    definitions_of,
    read_library,
    standard_library,
)
from banyan.workflows.demo_data.question_answering import question_answering_rows
from banyan.workflows.demo_data.splits import Split, split_modules
from banyan.workflows.demo_data.summarization import summarization_rows
from banyan.workflows.demo_data.tagging import tagging_rows
from banyan.workflows.demo_data.translation import translation_rows

TASKS: tuple[str, ...] = (
    "language_modeling",
    "classification",
    "tagging",
    "translation",
    "summarization",
    "question_answering",
    "dialogue",
    "image_generation",
)
_SUMMARY_FILE = "demo_data.json"
_SPARE = 2  # held-out candidates made for each one wanted, because some are dropped as seen

Tables = dict[str, dict[Split, list[Row]]]  # task → split → rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """How many rows each file may have."""

    train: int
    short_train: int  # of tasks whose rows are short: tagging and translation
    validation: int
    test: int
    corpus_characters: int  # of the language-modelling documents to train on
    modules: int | None = None  # of the library; None: all

    def of(self, task: str, split: Split) -> int:
        """Return the limit of one file; documents are limited by characters instead."""
        if split is Split.TRAIN:
            return self.short_train if task in ("tagging", "translation") else self.train
        return self.validation if split is Split.VALIDATION else self.test


FULL = Limits(train=6_000, short_train=12_000, validation=300, test=500, corpus_characters=12_000_000)
QUICK = Limits(train=1_500, short_train=2_500, validation=80, test=150, corpus_characters=2_000_000, modules=180)


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoData:
    """Where the files lie, how many rows each has, and that nothing leaked."""

    files: dict[str, dict[str, Path]]  # task → split → file
    counts: dict[str, dict[str, int]]  # task → split → rows
    leakage: LeakageReport
    num_modules: dict[str, int]  # split → modules of the library


def build_demo_data(
    directory: Path, *, quick: bool, seed: int, library: Path | None = None, limits: Limits | None = None
) -> DemoData:
    """Write train, validation and test files of every task below `directory`; the same seed gives the same files.

    `library` is the folder to read instead of the running Python's library, `limits` the sizes instead of the usual.
    Raises: DataError if the library has too few sources; SpaceError if the files cannot be written.
    """
    chosen = limits or (QUICK if quick else FULL)
    with without_collector():
        tables, num_modules = _read_and_make(library or standard_library(), chosen, seed=seed)
    leakage = _drop_leaks(tables, chosen)
    if not leakage.is_clean:
        raise AssertionError(f"held-out examples stand in training files: {leakage.leaked}")
    data = _write(directory, tables, leakage, num_modules=num_modules)
    atomic_write_json(directory / _SUMMARY_FILE, _summary(data, directory))
    return data


def read_demo_data(directory: Path) -> DemoData:
    """Read back what `build_demo_data` reported about the files in a folder.

    Raises: FileError if the folder holds none; DataError if the report is not whole.
    """
    summary = read_json(directory / _SUMMARY_FILE)
    try:
        files = {
            task: {split: directory / name for split, name in named.items()} for task, named in summary["files"].items()
        }
        leakage = LeakageReport(**summary["leakage"])
        return DemoData(files=files, counts=summary["counts"], leakage=leakage, num_modules=summary["num_modules"])
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{directory / _SUMMARY_FILE} is not a report of the demo's data ({error}).") from error


def _read_and_make(root: Path, limits: Limits, *, seed: int) -> tuple[Tables, dict[str, int]]:
    """Return all rows, and how many modules each split has."""
    modules = read_library(root, max_modules=limits.modules)
    definitions = {module.name: definitions_of(module) for module in modules}
    splits = split_modules(modules, {name: len(found) for name, found in definitions.items()})
    tables = _make_tables(root, modules, definitions, splits, limits, seed=seed)
    return tables, {split.value: sum(found is split for found in splits.values()) for split in Split}


def _make_tables(
    root: Path,
    modules: Sequence[LibraryModule],
    definitions: Mapping[str, Sequence[Definition]],
    splits: Mapping[str, Split],
    limits: Limits,
    *,
    seed: int,
) -> Tables:
    tables: Tables = {task: {} for task in TASKS}
    topics = topic_rows(root)
    for split in Split:
        members = [module for module in modules if splits[module.name] is split]
        defined = [definition for module in members for definition in definitions[module.name]]
        for task, rows in _rows_of_library(members, defined, split, seed=seed).items():
            tables[task][split] = rows
        documents = [*module_rows(members), *reference_rows(defined), *topics[split]]
        tables["language_modeling"][split] = _documents(documents, split, limits, seed=seed)
    wanted = {split: limits.of("translation", split) * (1 if split is Split.TRAIN else _SPARE) for split in Split}
    tables["translation"] = translation_rows(wanted, generator=_generator(seed, "translation"))
    tables["image_generation"] = digit_rows(generator=_generator(seed, "image_generation"))
    for task, table in tables.items():
        if task != "language_modeling":
            del table[Split.TRAIN][limits.of(task, Split.TRAIN) :]
    return tables


def _rows_of_library(
    modules: Sequence[LibraryModule], definitions: Sequence[Definition], split: Split, *, seed: int
) -> dict[str, list[Row]]:
    """Make the rows of the tasks that are about the library's functions, for the modules of one split."""

    def generator(task: str) -> random.Random:
        return _generator(seed, task, split)

    return {
        "classification": classification_rows(modules, definitions, generator=generator("classification")),
        "tagging": tagging_rows(modules, generator=generator("tagging")),
        "summarization": summarization_rows(definitions, generator=generator("summarization")),
        "question_answering": question_answering_rows(definitions, generator=generator("question_answering")),
        "dialogue": dialogue_rows(definitions, generator=generator("dialogue")),
    }


def _generator(seed: int, *names: str) -> random.Random:
    return random.Random(" ".join((str(seed), *names)))


def _documents(documents: list[Row], split: Split, limits: Limits, *, seed: int) -> list[Row]:
    """Keep whole documents up to the corpus size for training; cut held-out ones into passages."""
    generator = _generator(seed, "language_modeling", split)
    if split is not Split.TRAIN:
        return passages(documents, generator=generator)
    generator.shuffle(documents)
    kept: list[Row] = []
    size = 0
    for document in documents:
        size += len(document["text"])
        if size <= limits.corpus_characters or not kept:
            kept.append(document)
    return kept


def _drop_leaks(tables: Tables, limits: Limits) -> LeakageReport:
    """Leave out held-out rows that stand in any task's training rows, cut to size, and check what is left again."""
    training = TrainingText(row for table in tables.values() for row in table[Split.TRAIN])
    dropped = dict.fromkeys(tables, 0)
    for task, table in tables.items():
        for split in (Split.VALIDATION, Split.TEST):
            kept: list[Row] = []
            for row in table[split]:
                if len(kept) == limits.of(task, split):
                    break
                if training.holds_any(row):
                    dropped[task] += 1
                else:
                    kept.append(row)
            table[split] = kept
    held_out = {task: [*table[Split.VALIDATION], *table[Split.TEST]] for task, table in tables.items()}
    checked = {task: len(rows) for task, rows in held_out.items()}
    return LeakageReport(num_checked=checked, num_dropped=dropped, leaked=count_leaks(training, held_out))


def _write(directory: Path, tables: Tables, leakage: LeakageReport, *, num_modules: dict[str, int]) -> DemoData:
    files: dict[str, dict[str, Path]] = {}
    for task, table in tables.items():
        files[task] = {split.value: directory / f"{task}.{split.value}.jsonl" for split in Split}
        for split in Split:
            lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in table[split])
            atomic_write_text(files[task][split], "".join(lines))
    counts = {task: {split.value: len(table[split]) for split in Split} for task, table in tables.items()}
    return DemoData(files=files, counts=counts, leakage=leakage, num_modules=num_modules)


def _summary(data: DemoData, directory: Path) -> dict[str, Any]:
    files = {
        task: {split: path.relative_to(directory).as_posix() for split, path in named.items()}
        for task, named in data.files.items()
    }
    return {
        "files": files,
        "counts": data.counts,
        "num_modules": data.num_modules,
        "leakage": asdict(data.leakage),
    }
