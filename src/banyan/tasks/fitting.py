"""Making a source fit the context, by cutting its end or by refusing it."""

from __future__ import annotations

from collections.abc import Sequence

from banyan.core.errors import ContextLengthError


def answer_room(max_answer_tokens: int, *, max_tokens: int) -> int:
    """Return how many tokens stay free for the answer: what the task asks for, at most half of the context."""
    return min(max_answer_tokens, max_tokens // 2)


def fit_source(
    token_ids: Sequence[int],
    *,
    task: str,
    max_tokens: int,
    reserved_tokens: int,
    max_source_tokens: int | None,
    truncate: bool,
) -> tuple[tuple[int, ...], int]:
    """Cut the end of a source that does not fit; return what is left and how many tokens were dropped.

    Units:  `reserved_tokens` of the `max_tokens` belong to special tokens and the answer.
    Raises: ContextLengthError if it does not fit and may not be cut, or not even one token fits.
    """
    room = max_tokens - reserved_tokens
    if max_source_tokens is not None:
        room = min(room, max_source_tokens)
    if room < 1:
        raise ContextLengthError(
            f"task {task}: a context of {max_tokens} tokens has no room for a source; "
            f"{reserved_tokens} are needed for special tokens and the answer.",
            num_prompt_tokens=reserved_tokens + len(token_ids),
            max_seq_len=max_tokens,
            hint="use a model with a longer context, or a smaller max_answer_tokens",
        )
    if len(token_ids) > room and not truncate:
        raise ContextLengthError(
            f"task {task}: the source has {len(token_ids)} tokens and at most {room} fit.",
            num_prompt_tokens=reserved_tokens + len(token_ids),
            max_seq_len=max_tokens,
            hint="shorten the text, or set truncate: true for this task",
        )
    return tuple(token_ids[:room]), max(0, len(token_ids) - room)


def end_answer(token_ids: Sequence[int], end_id: int, *, room: int) -> tuple[int, ...]:
    """Close an answer with its end token; one that does not fit is cut and stays open."""
    return (*token_ids, end_id)[:room]
