"""`banyan chat MODEL`: talk to a model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from banyan.cli.generate import write_piece
from banyan.cli.output import JsonOption, QuietOption, console, emit, say
from banyan.cli.sampling import MaxTokensOption, SeedOption, TemperatureOption, changed
from banyan.core.errors import BanyanError
from banyan.runtime.defaults import SamplingConfig
from banyan.runtime.loaded_model import LoadedModel
from banyan.runtime.loading import load
from banyan.workflows.answer_records import AnswerRecorder
from banyan.workflows.speaking import reply

app = typer.Typer(add_completion=False)


@app.command()
def chat(
    model: Annotated[Path, typer.Argument(help="A model directory, for example runs/demo/best")],
    message: Annotated[str | None, typer.Argument(help="Ask this once; without it, a conversation begins.")] = None,
    system: Annotated[str | None, typer.Option(help="Said at the start of the conversation.")] = None,
    max_tokens: MaxTokensOption = None,
    temperature: TemperatureOption = None,
    seed: SeedOption = None,
    database: Annotated[str | None, typer.Option(help="Database URL; every answer is stored there.")] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Talk to a model; an empty line or Ctrl-D ends, /new begins again.

    Example: banyan chat runs/demo/best "What does textwrap.shorten do?"
    """
    with load(model) as loaded, AnswerRecorder(loaded, endpoint="chat", database=database) as recorder:
        task = loaded.task_of_kind("dialogue")
        sampling = changed(loaded.sampling_for(task.name), max_tokens=max_tokens, temperature=temperature, seed=seed)
        start = [{"role": "system", "content": system}] if system else []
        if message is None:
            converse(loaded, start, sampling=sampling, recorder=recorder)
            return
        asked = [*start, {"role": "user", "content": message}]
        spoken = reply(loaded, asked, sampling=sampling, recorder=recorder)
    emit(spoken, as_json=as_json, quiet=quiet, text=lambda: say(spoken.text))


def converse(
    model: LoadedModel, start: list[dict[str, str]], *, sampling: SamplingConfig, recorder: AnswerRecorder
) -> None:
    """Read questions and print answers until the person leaves; a question that fails does not end it."""
    messages = list(start)
    remarks = console()
    remarks.print("An empty line or Ctrl-D ends; /new begins a new conversation.")
    while question := read_question():
        if question == "/new":
            messages = list(start)
            continue
        asked = [*messages, {"role": "user", "content": question}]
        try:
            spoken = reply(model, asked, sampling=sampling, recorder=recorder, on_text=write_piece)
        except BanyanError as error:
            remarks.print(f"error: {error}", markup=False)
            continue
        say()
        messages = [*asked, {"role": "assistant", "content": spoken.text}]


def read_question() -> str:
    """Return the next line a person types; empty at the end."""
    if sys.stdin.isatty():
        sys.stdout.write("> ")
        sys.stdout.flush()
    return sys.stdin.readline().strip()
