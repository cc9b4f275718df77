"""A question about a picture: its codes, then words if there are any, laid out for the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from banyan.core.errors import ContextLengthError, DataError, InputError
from banyan.core.types import NO_GRID, Decoding, Prompt
from banyan.tasks.base import Task
from banyan.tasks.fitting import fit_source
from banyan.tasks.picture_uris import DATA_URI, read_shown_picture
from banyan.tokenizers.vocabulary import Vocabulary


def picture_question(
    task: Task[Any],
    codes: Sequence[int] | None,
    text: str,
    vocabulary: Vocabulary,
    *,
    decoding: Decoding,
    num_answer_tokens: int,
    max_tokens: int,
) -> Prompt:
    """Build `<|bos|><|task|><|image|> codes <|/image|> text <|sep|>`; only the text is ever cut.

    A position of the picture names the cell that comes next, as it does where a picture is drawn.
    Raises: DataError if the picture has no codes; ContextLengthError if there is no room for it.
    """
    if codes is None:
        raise DataError(f"task {task.name} cannot look at a picture without codes.", hint="call with_codes first")
    head = vocabulary.open_task(task.name, instruction=task.instruction_for(text))
    seen, tail = vocabulary.show_picture(codes), vocabulary.ask_answer()
    reserved = len(head) + len(seen) + len(tail) + num_answer_tokens
    words, num_dropped = _words(task, text, vocabulary, reserved=reserved, max_tokens=max_tokens)
    cells = (*range(len(codes)), NO_GRID, NO_GRID)
    return Prompt(
        task=task.name,
        token_ids=(*head, *seen, *words, *tail),
        mask=task.reading,
        decoding=decoding,
        grid_ids=(*[NO_GRID] * len(head), *cells, *[NO_GRID] * (len(words) + len(tail))),
        num_dropped_tokens=num_dropped,
    )


def _words(
    task: Task[Any], text: str, vocabulary: Vocabulary, *, reserved: int, max_tokens: int
) -> tuple[tuple[int, ...], int]:
    if text.strip():
        return fit_source(
            vocabulary.encode_inside(text),
            task=task.name,
            max_tokens=max_tokens,
            reserved_tokens=reserved,
            max_source_tokens=task.max_source_tokens,
            truncate=task.truncate,
        )
    if reserved > max_tokens:
        raise ContextLengthError(
            f"task {task.name}: a picture and its answer need {reserved} tokens, the context has {max_tokens}.",
            num_prompt_tokens=reserved,
            max_seq_len=max_tokens,
            hint="use a longer context (model.max_seq_len), or an image tokenizer with a smaller grid",
        )
    return (), 0


def typed_picture(task: str, typed: str) -> tuple[Any, str]:
    """Return the picture and the words that a person typed on one line: `cat.png`, or `cat.png | what it says`.

    Raises: InputError if it names no picture that can be read.
    """
    place, _, words = typed.partition("|")
    if not place.strip():
        raise InputError(f"task {task} needs a picture: its file, or its file | a text.")
    try:
        return read_shown_picture(place.strip()), words.strip()
    except DataError as error:
        shown = "the data URI" if place.startswith(DATA_URI) else place.strip()
        raise InputError(f"task {task} cannot read the picture {shown}: {error.message}") from error
