"""Reading conversations in the field's formats: messages, ShareGPT, alpaca, prompt and completion."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from banyan.core.errors import DataError
from banyan.core.types import Image, Row
from banyan.tasks.picture_uris import is_data_uri, read_shown_picture
from banyan.tasks.rows import list_column, text_column

ASSISTANT = "assistant"
_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": ASSISTANT,
    "gpt": ASSISTANT,
    "bot": ASSISTANT,
    "function_call": ASSISTANT,
    "tool": "tool",
    "observation": "tool",
    "function": "tool",
}
_PAIRS = (("instruction", "output"), ("prompt", "completion"), ("prompt", "response"), ("question", "answer"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """What one side of a conversation says."""

    role: str  # system, user, assistant or tool
    content: str
    images: tuple[Image, ...] = ()  # shown before the words
    codes: tuple[tuple[int, ...], ...] = ()  # of the pictures, once they are encoded


def read_messages(row: Row) -> tuple[Message, ...]:
    """Return the messages of a row, with the tools it offers as a part of the system message.

    Reads {"messages"}, ShareGPT's {"conversations"}, alpaca's {"instruction", "input", "output"} (with "system" and
    "history"), and pairs of prompt and completion. Of a preference pair the `chosen` answer is read.
    Raises: DataError if the row holds no conversation, or a role nobody knows.
    """
    for name in ("messages", "conversations"):
        if row.get(name) is not None:
            messages = tuple(_read_message(item) for item in list_column(row, name))
            break
    else:
        messages = _read_pair(row)
    if not messages:
        raise DataError("the conversation is empty; it needs at least one message.")
    if row.get("chosen") is not None and messages[-1].role != ASSISTANT:
        messages += (_read_message(row["chosen"] if isinstance(row["chosen"], dict) else _said(row["chosen"])),)
    return _with_system(_with_tools(messages, row.get("tools")), str(row.get("system") or ""))


def _said(content: Any) -> dict[str, Any]:
    return {"role": ASSISTANT, "content": content}


def _read_message(item: Any) -> Message:
    if not isinstance(item, dict):
        raise DataError(f"a message must be a mapping with role and content, got {type(item).__name__}.")
    role, content = item.get("role", item.get("from")), item.get("content", item.get("value"))
    if not isinstance(role, str) or role not in _ROLES:
        raise DataError(f"role {role!r} of a message is not one of {', '.join(_ROLES)}.")
    images = tuple(_image_of(part) for part in content if _is_image(part)) if isinstance(content, list) else ()
    if images and _ROLES[role] != "user":
        raise DataError(f"a message of {role!r} holds a picture; only the user's messages may.")
    return Message(role=_ROLES[role], content=_content_text(content), images=images)


def _content_text(content: Any) -> str:
    """Return a message's text; the parts of a message in several parts are joined, its pictures left out."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    texts = [part for part in content if not _is_image(part)] if isinstance(content, list) else [None]
    if all(isinstance(part, dict) and part.get("type") == "text" for part in texts):
        return "".join(str(part.get("text", "")) for part in texts if part is not None)
    raise DataError(f"the content of a message must be a text, got {type(content).__name__}.")


def _is_image(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "image_url"


def _image_of(part: dict[str, Any]) -> Image:
    """Read a picture that is written out in its message; an address is never looked up."""
    place = part.get("image_url")
    uri = place.get("url") if isinstance(place, dict) else place
    if not is_data_uri(uri):
        raise DataError(
            f"a picture in a message must be a data URI, got {uri!r:.60}; addresses are never fetched.",
            hint="write it as data:image/png;base64,…",
        )
    return read_shown_picture(uri)


def _read_pair(row: Row) -> tuple[Message, ...]:
    for asked, answered in _PAIRS:
        if row.get(asked) is None:
            continue
        question = text_column(row, asked)
        if str(row.get("input") or "").strip():
            question = f"{question}\n{row['input']}"
        messages = [*_read_history(row), Message(role="user", content=question)]
        if row.get(answered) is not None:
            messages.append(Message(role=ASSISTANT, content=text_column(row, answered)))
            return tuple(messages)
        if not any(row.get(other) is not None for name, other in _PAIRS if name == asked):
            return tuple(messages)
    raise DataError(
        f"the row holds no conversation; its columns: {', '.join(map(str, row)) or 'none'}.",
        hint='a conversation is {"messages": [{"role", "content"}]}, {"conversations": [{"from", "value"}]} or '
        '{"instruction", "input", "output"}',
    )


def _read_history(row: Row) -> list[Message]:
    """Read alpaca's earlier turns: [[question, answer], …]."""
    turns = list_column(row, "history") if row.get("history") else []
    return [
        Message(role=role, content=str(text))
        for turn in turns
        for role, text in zip(("user", ASSISTANT), turn if isinstance(turn, list | tuple) else (turn,), strict=False)
    ]


def _with_system(messages: tuple[Message, ...], system: str) -> tuple[Message, ...]:
    if not system or messages[0].role == "system":
        return messages
    return (Message(role="system", content=system), *messages)


def _with_tools(messages: tuple[Message, ...], tools: Any) -> tuple[Message, ...]:
    if not tools:
        return messages
    described = tools if isinstance(tools, str) else json.dumps(tools, ensure_ascii=False)
    if messages[0].role != "system":
        return (Message(role="system", content=described), *messages)
    return (Message(role="system", content=f"{messages[0].content}\n{described}"), *messages[1:])


def split_off_answer(messages: Sequence[Message]) -> tuple[tuple[Message, ...], str]:
    """Split a conversation before its last assistant message; what follows that message is left out.

    Raises: DataError if the assistant says nothing, or nothing comes before it.
    """
    last = max((n for n, message in enumerate(messages) if message.role == ASSISTANT), default=0)
    if last == 0 or not messages[last].content.strip():
        raise DataError("the conversation has no assistant message after a question; there is nothing to learn.")
    return tuple(messages[:last]), messages[last].content


def without_answer(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Leave out what the assistant said last, so that it can be asked for.

    Raises: DataError if nothing was said before.
    """
    end = len(messages)
    while end and messages[end - 1].role == ASSISTANT:
        end -= 1
    if not end:
        raise DataError("the conversation has no message to answer.")
    return tuple(messages[:end])
