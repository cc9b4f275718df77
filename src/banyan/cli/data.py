"""`banyan data`: the dataset catalog, and a look at your own files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from banyan.cli.output import JsonOption, QuietOption, console, emit, say, to_plain
from banyan.cli.progress import TerminalReporter
from banyan.core.paths import data_directory
from banyan.workflows.data_sets import NEAR_SHARE, DatasetFacts, check_data, list_datasets, show_dataset
from banyan.workflows.recipe import read_recipe
from banyan.workflows.wordings import Wording, show_wordings

app = typer.Typer(add_completion=False, no_args_is_help=True, help="The dataset catalog, and your own files.")

_EXAMPLE_CHARACTERS = 400
_SHOWN_CHARACTERS = 90  # of a text that leaks
_LINE = "{:19} {:19} {:6} {:5} {:27} {}"
_FINDINGS = {
    "num_blank": "with nothing to ask",
    "num_duplicates": "duplicates",
    "num_conflicts": "of them with another answer",
    "num_near_duplicates": "near duplicates",
    "num_replacement": "with U+FFFD (bytes that could not be decoded)",
    "num_control": "with control characters",
    "num_mojibake": "decoded with the wrong table",
}


@app.command("list")
def list_all(as_json: JsonOption = False, quiet: QuietOption = False) -> None:
    """Show the data sets Banyan knows by name, and which of them are here.

    Example: banyan data list --json
    """
    datasets = list_datasets()
    emit({"datasets": datasets}, as_json=as_json, quiet=quiet, text=lambda: tell_all(datasets))


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A name from `banyan data list`.")],
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Show what is known of a data set: task, licence, splits, files, and three rows of it.

    Example: banyan data show trec
    """
    dataset = show_dataset(name)
    emit(dataset, as_json=as_json, quiet=quiet, text=lambda: tell(dataset))


@app.command()
def check(
    place: Annotated[str, typer.Argument(help="A file, a folder, a recipe, or a name from `banyan data list`.")],
    near: Annotated[
        float, typer.Option(help="Share of pairs of words that makes texts nearly the same, 0.7 to 1; 0: off.")
    ] = NEAR_SHARE,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 5 if a row stands in two splits.")] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """Count rows, duplicates, rows that leak from one split into another, and encoding problems.

    Of a recipe, also what one task is scored on and another one learns from.

    Example: banyan data check my-data/ --strict
    """
    report = check_data(place, share=near or None)
    result = {"place": place, "leaky": report.is_leaky, **to_plain(report)}
    emit(result, as_json=as_json, quiet=quiet, text=lambda: tell_report(result))
    return 5 if strict and report.is_leaky else 0


@app.command()
def augment(
    recipe: Annotated[Path, typer.Argument(help="A YAML recipe with `augment` in one of its tasks.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value, for example seed=7")] = None,
    task: Annotated[str | None, typer.Option(help="One task; without it all that are augmented.")] = None,
    num: Annotated[int, typer.Option(min=1, help="Examples of each task.")] = 3,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Show what augmentation makes of a recipe's training examples: before, after, and the answer of both.

    Example: banyan data augment recipe.yaml --task sentiment --num 5
    """
    settled = read_recipe(recipe, overrides=overrides or [])
    with TerminalReporter(console(quiet=quiet, as_json=as_json)) as reporter:
        wordings = show_wordings(settled, task=task, num=num, reporter=reporter)
    emit({"wordings": wordings}, as_json=as_json, quiet=quiet, text=lambda: tell_wordings(wordings))


def tell_wordings(wordings: list[Wording]) -> None:
    """Print examples beside what became of them for a person."""
    for wording in wordings:
        facts = [("task", wording.task), ("before", wording.before), ("after", wording.after)]
        for name, value in [*facts, ("answer", wording.answer)]:
            say(f"{name:8}{' '.join(value.splitlines())}")
        say()


def tell_all(datasets: list[DatasetFacts]) -> None:
    """Print the catalog for a person, one line each."""
    say(_LINE.format("name", "task", "lang", "here", "rows", "licence"))
    for dataset in datasets:
        rows = " / ".join(str(file.num_rows) for file in dataset.files if file.num_rows is not None) or "–"
        here = "yes" if dataset.folder else "no"
        say(_LINE.format(dataset.name, dataset.kind, " ".join(dataset.languages), here, rows, dataset.licence))
    if data_directory() is None:
        say("BANYAN_DATA is not set; point it at the folder that holds your data sets.")


def tell(dataset: DatasetFacts) -> None:
    """Print one data set for a person."""
    facts = [("task", dataset.kind), ("languages", " ".join(dataset.languages) or "–"), ("licence", dataset.licence)]
    facts += [("source", dataset.source), ("folder", dataset.folder or "not here (see BANYAN_DATA)")]
    for name, value in facts:
        say(f"{name:12}{value}")
    for file in dataset.files:
        state = "not here" if file.size_bytes is None else f"{file.size_bytes / 1e6:.2f} MB"
        state += ", another variant than the one we know" if file.is_known is False else ""
        rows = "" if file.num_rows is None else f"{file.num_rows} rows, "
        say(f"{file.split:12}{file.file}: {rows}{state}")
    for row in dataset.examples:
        text = json.dumps(to_plain(row), ensure_ascii=False)
        say(f"{'row':12}{text[:_EXAMPLE_CHARACTERS]}{'…' if len(text) > _EXAMPLE_CHARACTERS else ''}")


def tell_report(result: dict[str, Any]) -> None:
    """Print what a check found for a person: one line for each split, one for each leak, with examples."""
    width = max([12, *(len(split["split"]) + 2 for split in result["splits"])])
    for split in result["splits"]:
        found = [f"{split[name]} {words}" for name, words in _FINDINGS.items() if split[name]]
        say(f"{split['split']:{width}}{split['num_rows']} rows; {', '.join(found) or 'nothing wrong'}")
    for leak in result["leaks"]:
        say(f"leak: {leak['num_rows']} rows of {leak['split']} stand in {leak['also_in']}, too")
        for example in leak["examples"]:
            say(f"      one begins {_shown(example)}")
    for leak in result["near_leaks"]:
        say(f"near: {leak['num_rows']} rows of {leak['split']} stand nearly so in {leak['also_in']}")
        for pair in leak["examples"]:
            say(f"      {pair['share']:.2f} {_shown(pair['text'])}")
            say(f"        of {_shown(pair['other'])}")
    if not result["leaks"] and len(result["splits"]) > 1:
        say("no row stands in two splits")


def _shown(text: str) -> str:
    return repr(text[:_SHOWN_CHARACTERS])
