"""`banyan init FILES…`: look at the user's files and write a recipe that runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from banyan.cli.output import JsonOption, QuietOption, emit, say
from banyan.workflows.init import InitReport, write_recipe

app = typer.Typer(add_completion=False)

_SHOWN_CHARACTERS = 100


@app.command()
def init(
    paths: Annotated[list[Path], typer.Argument(help="Files and folders to learn from.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the recipe.")] = Path("recipe.yaml"),
    name: Annotated[str | None, typer.Option(help="The run's name; from the files if not given.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a recipe that is there.")] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Show what your files can teach, with three examples each, and write a commented recipe.

    Example: banyan init notes/ reviews.csv pairs.jsonl --output recipe.yaml
    """
    report = write_recipe(paths, output=output, name=name, overwrite=overwrite)
    emit(report, as_json=as_json, quiet=quiet, text=lambda: tell(report))


def tell(report: InitReport) -> None:
    """Show each task that was found, and what to type next."""
    for task in report.tasks:
        source = task.report
        facts = [f"{source.num_rows} rows", source.format, *source.languages]
        say(f"{task.name}: {source.kind} from {source.path} ({', '.join(facts)})")
        if source.labels:
            say(f"  labels: {', '.join(source.labels[:12])}{' …' if len(source.labels) > 12 else ''}")
        for example in source.examples:
            shown = "  ".join(f"{column}={_short(value)}" for column, value in example.items())
            say(f"  · {shown}")
        for note in source.notes:
            say(f"  note: {note}")
    say(f"wrote {report.recipe}; next: banyan train {report.recipe}")


def _short(value: str) -> str:
    flat = " ".join(str(value).split())
    return flat if len(flat) <= _SHOWN_CHARACTERS else flat[: _SHOWN_CHARACTERS - 1] + "…"
