"""Pictures in a conversation: laid out before the words of their message, and given their codes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice

from banyan.core.errors import DataError
from banyan.core.types import NO_GRID
from banyan.tasks.conversations import Message
from banyan.tasks.picture_codes import codes_of
from banyan.tokenizers.images import ImageTokenizer
from banyan.tokenizers.layout import Conversation, Turn
from banyan.tokenizers.vocabulary import Vocabulary

USER = "user"


def lay_out(messages: Sequence[Message], vocabulary: Vocabulary) -> Conversation:
    """Return a conversation as ids; a picture belongs to the opening of its message, so that it is never cut.

    Raises: DataError if a picture has no codes; ConfigError if the model has no tokens for pictures.
    """
    talk = vocabulary.conversation([(message.role, message.content) for message in messages])
    if not any(message.images for message in messages):
        return talk
    asked = iter([message for message in messages if message.role == USER])
    return replace(
        talk, turns=tuple(_shown(turn, next(asked), vocabulary) if turn.role == USER else turn for turn in talk.turns)
    )


def _shown(turn: Turn, message: Message, vocabulary: Vocabulary) -> Turn:
    if len(message.codes) != len(message.images):
        raise DataError("a picture in a conversation has no codes; the model cannot look at it.")
    seen = (token_id for codes in message.codes for token_id in vocabulary.show_picture(codes))
    return replace(turn, opening=(*turn.opening, *seen))


def cells_of(token_ids: Sequence[int], vocabulary: Vocabulary) -> tuple[int, ...]:
    """Return which picture cell each position stands before; nothing where there is no picture."""
    if not any(map(vocabulary.is_image, token_ids)):
        return ()
    cells, cell = [], NO_GRID
    for token_id, following in zip(token_ids, (*token_ids[1:], vocabulary.pad_id), strict=True):
        cell = cell + 1 if vocabulary.is_image(token_id) else 0
        cells.append(cell if vocabulary.is_image(following) else NO_GRID)
    return tuple(cells)


def see_messages(histories: Sequence[Sequence[Message]], tokenizer: ImageTokenizer) -> list[tuple[Message, ...]]:
    """Return conversations with the codes of all their pictures, scaled to the tokenizer's size."""
    waiting = [message for history in histories for message in history if message.images and not message.codes]
    codes = iter(codes_of([image for message in waiting for image in message.images], tokenizer))
    return [tuple(_seen(message, codes) for message in history) for history in histories]


def _seen(message: Message, codes: Iterator[tuple[int, ...]]) -> Message:
    if not message.images or message.codes:
        return message
    return replace(message, codes=tuple(islice(codes, len(message.images))))
