"""`banyan chat MODEL`: talk to a model."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from banyan.cli.base_model import BaseOption
from banyan.cli.generate import write_piece
from banyan.cli.output import JsonOption, QuietOption, console, emit, say
from banyan.cli.sampling import MaxTokensOption, SeedOption, TemperatureOption, changed
from banyan.cli.streams import harmless, visible
from banyan.core.errors import BanyanError, InputError
from banyan.runtime.defaults import SamplingConfig
from banyan.runtime.loaded_model import LoadedModel
from banyan.runtime.loading import load
from banyan.workflows.answer_records import AnswerRecorder
from banyan.workflows.speaking import Spoken, reply

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
    base: BaseOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Talk to a model; an empty line or Ctrl-D ends, /new begins again.

    Example: banyan chat runs/demo/best "What does textwrap.shorten do?"
    """
    if message is not None and not message.strip():
        raise InputError("a blank message cannot be answered.", hint="leave it out to begin a conversation")
    with load(model, base=base) as loaded, AnswerRecorder(loaded, endpoint="chat", database=database) as recorder:
        task = loaded.task_of_kind("dialogue")
        sampling = changed(loaded.sampling_for(task.name), max_tokens=max_tokens, temperature=temperature, seed=seed)
        start = [{"role": "system", "content": system}] if system else []
        if message is not None:
            spoken = reply(loaded, [*start, _said_by_user(message)], sampling=sampling, recorder=recorder)
            emit(spoken, as_json=as_json, quiet=quiet, text=lambda: say(harmless(spoken.text)))
            return
        console(quiet=quiet, as_json=as_json).print("An empty line or Ctrl-D ends; /new begins a new conversation.")
        talk = converse(loaded, start, sampling=sampling, recorder=recorder, is_shown=not (as_json or quiet))
    emit(talk, as_json=as_json)
    if talk.num_failed and not sys.stdin.isatty():
        raise InputError(f"{talk.num_failed} of {talk.num_failed + len(talk.answers)} questions were not answered.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Talk:
    """What came of a conversation."""

    answers: tuple[Spoken, ...]
    num_failed: int  # questions that could not be answered


def converse(
    model: LoadedModel,
    start: list[dict[str, str]],
    *,
    sampling: SamplingConfig,
    recorder: AnswerRecorder,
    is_shown: bool,
) -> Talk:
    """Read questions and print answers until the person leaves; a question that fails does not end it."""
    messages = list(start)
    answers: list[Spoken] = []
    num_failed = 0
    while question := read_question():
        if question == "/new":
            messages = list(start)
            continue
        asked = [*messages, _said_by_user(question)]
        try:
            spoken = reply(
                model, asked, sampling=sampling, recorder=recorder, on_text=write_piece if is_shown else None
            )
        except BanyanError as error:
            num_failed += 1
            sys.stderr.write(f"error: {visible(str(error))}\n")
            continue
        if is_shown:
            say()
        answers.append(spoken)
        messages = [*asked, {"role": "assistant", "content": spoken.text}]
    return Talk(answers=tuple(answers), num_failed=num_failed)


def read_question() -> str:
    """Return the next line a person types; empty at the end."""
    if sys.stdin.isatty():
        sys.stdout.write("> ")
        sys.stdout.flush()
    return sys.stdin.readline().strip()


def _said_by_user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}
