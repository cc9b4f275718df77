"""A first recipe as text: YAML in which every key is explained."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from banyan.data.grouping import SourceGroup
from banyan.data.recognise import SourceReport
from banyan.workflows.sizes import RecipeSizes

_SHOWN_LABELS = 12
_WIDTH = 36  # where comments begin
_KIND_WORDS = {
    "language_modeling": "go on with a text",
    "classification": "label a text",
    "tagging": "mark the entities in a text",
    "translation": "translate a sentence",
    "summarization": "shorten a text",
    "question_answering": "find the answer in a text",
    "dialogue": "answer in a conversation",
    "image_generation": "draw what a caption says",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundTask:
    """One data set, and the task that a recipe makes of it."""

    name: str
    group: SourceGroup
    report: SourceReport
    format: str = "auto"
    held_out: float = 0.0  # share of the rows for each split that has no file


def recipe_text(name: str, tasks: Sequence[FoundTask], sizes: RecipeSizes, *, output: Path) -> str:
    """Return the recipe's YAML."""
    lines = [
        *_head(name, sizes, output),
        "",
        "# What is learned, all at once. Paths count from the folder in which you type the command.",
        "tasks:",
        *(line for task in tasks for line in _task(task)),
        "",
        *_machine(sizes),
    ]
    return "\n".join(lines) + "\n"


def _head(name: str, sizes: RecipeSizes, output: Path) -> Iterator[str]:
    yield f"# Written by `banyan init`. Run it with:  banyan train {output}"
    yield "# Any value can be set on the command line too, for example:  minutes=30 train.seq_len=512"
    yield ""
    yield _entry("name", name, "the run's folder below runs/")
    yield _entry("seed", 0, "another number, another run; the same one, the same run")
    yield _entry("minutes", sizes.minutes, "time to train; null: train.steps counts instead")
    yield _entry("device", "auto", "auto takes a GPU if there is one; or cpu, cuda")


def _task(task: FoundTask) -> Iterator[str]:
    report = task.report
    yield ""
    things = {"language_modeling": "texts", "image_generation": "pictures"}.get(report.kind, "rows")
    yield f"  # {report.num_rows} {things} ({report.format}): {_KIND_WORDS.get(report.kind, report.kind)}."
    for note in report.notes:
        yield f"  # Look at this: {_one_line(note)}."
    yield _entry("- name", task.name, "how you call it: banyan predict MODEL NAME …", indent=2)
    yield _entry("kind", report.kind, "what it does", indent=4)
    yield from _options(report)
    yield "    data:"
    yield from _data(task)


def _options(report: SourceReport) -> Iterator[str]:
    comments = {
        "source_language": "of the text given",
        "target_language": "of the text wanted",
        "template": "how columns are put together to one text",
    }
    for key, value in report.options.items():
        yield _entry(key, value, comments.get(key, ""), indent=4)
    if report.kind == "translation":
        yield _entry("both_directions", False, "true: learn the way back as well", indent=4)
    if report.labels and report.kind in {"classification", "tagging"}:
        shown = ", ".join(map(_one_line, sorted(report.labels)[:_SHOWN_LABELS]))
        more = f" and {len(report.labels) - _SHOWN_LABELS} more" if len(report.labels) > _SHOWN_LABELS else ""
        yield f"    # labels: taken from the data. Found: {shown}{more}"


def _data(task: FoundTask) -> Iterator[str]:
    group = task.group
    yield _entry("train", str(group.train), "learned from", indent=6)
    if group.validation is not None:
        yield _entry("validation", str(group.validation), "looked at while training, to keep the best step", indent=6)
    if group.test is not None:
        yield _entry("test", str(group.test), "scored once, at the end", indent=6)
    if task.format != "auto":
        yield _entry("format", task.format, "long texts are cut, so that some can be held out", indent=6)
    if task.report.columns:
        yield _entry("columns", dict(task.report.columns), "our name: your column", indent=6)
    if group.validation is None and task.held_out:
        yield _entry("validation_fraction", task.held_out, "share of train that is held out for validation", indent=6)
    if group.test is None and task.held_out:
        yield _entry("test_fraction", task.held_out, "share of train that is held out for the test", indent=6)


def _machine(sizes: RecipeSizes) -> Iterator[str]:
    presets = "banyan-nano, -micro, -small, -base: about 1, 3, 10, 24 million weights"
    yield from _section("model", [("preset", sizes.preset, presets)])
    yield from _section(
        "tokenizer", [("vocab_size", sizes.vocab_size, "different pieces of text it knows; 256 or more")]
    )
    if sizes.image_size is not None:
        yield from _section(
            "image_tokenizer",
            [
                ("image_size", sizes.image_size, "pixels a side of a drawn picture"),
                ("patch_size", sizes.patch_size, "pixels a side of the patch that one code stands for"),
                ("num_codes", sizes.num_codes, "different patches it knows"),
            ],
        )
    yield from _section(
        "mixture", [("temperature", 2.0, "1: tasks are seen in proportion to their size; more: more evenly")]
    )
    yield from _section(
        "train",
        [
            ("steps", 1000, "updates of the weights; only counts if minutes is null"),
            ("seq_len", sizes.seq_len, "tokens in a row; longer sources are cut"),
            ("micro_batch_seqs", min(16, sizes.batch_seqs), "rows at a time; fewer need less memory"),
            ("accumulation_steps", max(1, sizes.batch_seqs // 16), "times that many rows make one update"),
        ],
    )
    yield from _section("optimizer", [("learning_rate", 0.003, "lower it if the loss jumps")])
    yield from _section("evaluation", [("max_validation_examples", 64, "of each task, looked at during training")])


def _section(name: str, entries: Iterable[tuple[str, Any, str]]) -> Iterator[str]:
    yield f"{name}:"
    for key, value, comment in entries:
        yield _entry(key, value, comment, indent=2)


def _entry(key: str, value: Any, comment: str, *, indent: int = 0) -> str:
    written = f"{' ' * indent}{key}: {_flow(value)}"
    return f"{written:<{_WIDTH}}  # {comment}" if comment else written


def _flow(value: Any) -> str:
    """Return a plain value as YAML on one line."""
    plain = dict(value) if isinstance(value, Mapping) else value
    text = yaml.safe_dump(plain, default_flow_style=True, allow_unicode=True, sort_keys=False, width=10**6)
    return text.strip().removesuffix("...").strip()


def _one_line(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)
