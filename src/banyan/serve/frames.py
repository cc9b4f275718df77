"""Writes the server-sent events of one streamed answer: exactly one ending, then `[DONE]`, whatever happens.

A stream that merely stops looks complete to the official client, so a failure after the first byte must be said in
the stream itself.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from banyan.serve.errors import ApiError
from banyan.serve.openai_shapes import Delta, Shape, Usage

DONE = b"data: [DONE]\n\n"
PING = b": ping\n\n"


def event(payload: dict[str, Any]) -> bytes:
    """Write one event."""
    return b"data: " + json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def ended_well(stream: bytes) -> bool:
    """Whether a whole stream came to its end without an error frame."""
    *events, done = stream.removesuffix(b"\n\n").split(b"\n\n")
    last = next((frame for frame in reversed(events) if not frame.startswith(b":")), b"")
    return done == b"data: [DONE]" and not last.startswith(b'data: {"error":')


class FrameWriter:
    """Writes the frames of one stream in the only order the protocol allows: deltas, one ending, `[DONE]`."""

    def __init__(self, *, envelope: dict[str, Any], shape: Shape, num_choices: int, includes_usage: bool) -> None:
        self._envelope = envelope  # id, object, created, model: the same in every chunk
        self._shape = shape
        self._num_choices = num_choices
        self._includes_usage = includes_usage
        self._is_ended = False

    def opening(self) -> bytes:
        """Write what comes before the first piece of each choice, if the protocol has such a thing."""
        self._require_open()
        openings = [self._shape.opening(index) for index in range(self._num_choices)]
        return b"".join(self._chunk(choice) for choice in openings if choice is not None)

    def delta(self, delta: Delta) -> bytes:
        """Write a piece of one choice."""
        self._require_open()
        return self._chunk(self._shape.delta(delta))

    def ending(self, finish_reasons: Sequence[str], usage: Usage) -> bytes:
        """Write one finishing chunk for every choice, the usage if it was asked for, and `[DONE]`."""
        self._require_open()
        frames = [self._chunk(self._shape.finish(index, reason)) for index, reason in enumerate(finish_reasons)]
        if self._includes_usage:
            frames.append(event({**self._envelope, "choices": [], "usage": usage.as_json()}))
        self._is_ended = True
        return b"".join([*frames, DONE])

    def failure(self, error: ApiError) -> bytes:
        """Write the error frame and `[DONE]`."""
        self._require_open()
        self._is_ended = True
        return event(error.body) + DONE

    def _chunk(self, choice: dict[str, Any]) -> bytes:
        usage = {"usage": None} if self._includes_usage else {}
        return event({**self._envelope, "choices": [choice], **usage})

    def _require_open(self) -> None:
        if self._is_ended:
            raise RuntimeError("this stream has already ended")
