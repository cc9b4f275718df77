"""`banyan generate MODEL "text"`: continue a text."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from banyan.cli.base_model import BaseOption
from banyan.cli.output import JsonOption, QuietOption, emit, say
from banyan.cli.sampling import (
    LookupOption,
    MaxTokensOption,
    SeedOption,
    TemperatureOption,
    TopKOption,
    TopPOption,
    changed,
)
from banyan.cli.streams import harmless
from banyan.runtime.loading import load
from banyan.workflows.answer_records import AnswerRecorder
from banyan.workflows.speaking import Spoken, continue_text

app = typer.Typer(add_completion=False)


@app.command()
def generate(
    model: Annotated[Path, typer.Argument(help="A model directory, for example runs/demo/best")],
    text: Annotated[str, typer.Argument(help="The beginning; `-` reads it from standard input.")] = "",
    max_tokens: MaxTokensOption = None,
    temperature: TemperatureOption = None,
    top_p: TopPOption = None,
    top_k: TopKOption = None,
    seed: SeedOption = None,
    database: Annotated[str | None, typer.Option(help="Database URL; every answer is stored there.")] = None,
    base: BaseOption = None,
    prompt_lookup: LookupOption = 0,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Continue a text, printing it as it is written.

    Example: banyan generate runs/demo/best "def read_text(self" --max-tokens 60
    """
    beginning = sys.stdin.read() if text == "-" else text
    show = not (as_json or quiet)
    with (
        load(model, base=base, max_lookup_tokens=prompt_lookup) as loaded,
        AnswerRecorder(loaded, endpoint="generate", database=database) as recorder,
    ):
        _, default = loaded.continuation(beginning)
        sampling = changed(default, max_tokens=max_tokens, temperature=temperature, top_p=top_p, top_k=top_k, seed=seed)
        spoken = continue_text(
            loaded, beginning, sampling=sampling, recorder=recorder, on_text=write_piece if show else None
        )
    emit(spoken, as_json=as_json, quiet=quiet, text=lambda: end_of(spoken))


def write_piece(piece: str) -> None:
    """Print a piece of an answer as it comes."""
    sys.stdout.write(harmless(piece))
    sys.stdout.flush()


def end_of(_: Spoken) -> None:
    """End the line."""
    say()
