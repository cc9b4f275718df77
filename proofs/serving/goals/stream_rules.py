"""The rules of a streamed answer, read strictly: deltas, one ending for each choice or one error, then [DONE]."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

_DATA, _COMMENT, _DONE = b"data: ", b":", b"data: [DONE]"


@dataclass(kw_only=True)
class Stream:
    """What a stream said."""

    texts: dict[int, str] = field(default_factory=lambda: defaultdict(str))  # by index of the choice
    finishes: Counter[int] = field(default_factory=Counter)  # finishing chunks, by index
    error: dict[str, Any] | None = None
    usage: dict[str, Any] | None = None
    _head: dict[str, Any] | None = None

    def add(self, frame: dict[str, Any]) -> None:
        """Take one frame; raises AssertionError if it must not come now."""
        assert self.error is None, f"a frame after the error: {frame}"
        if "error" in frame:
            self.error = frame["error"]
            return
        assert self.usage is None, f"a frame after the usage: {frame}"
        head = {name: frame[name] for name in ("id", "object", "created", "model", "system_fingerprint")}
        self._head = self._head or head
        assert head == self._head, f"another head: {head}, before it was {self._head}"
        if not frame["choices"]:
            self.usage = frame["usage"]
        for choice in frame["choices"]:
            self._add_choice(choice)

    def _add_choice(self, choice: dict[str, Any]) -> None:
        index, piece = choice["index"], choice["delta"].get("content") if "delta" in choice else choice["text"]
        assert not self.finishes[index], f"choice {index} goes on after its end: {choice}"
        self.texts[index] += piece or ""
        self.finishes[index] += choice["finish_reason"] is not None


def read_stream(raw: bytes, *, num_choices: int) -> Stream:
    """Read a whole stream.

    Raises: AssertionError if it breaks a rule.
    """
    *frames, rest = raw.split(b"\n\n")
    assert rest == b"", f"the stream ends within a frame: {rest[-200:]!r}"
    frames = [frame for frame in frames if not frame.startswith(_COMMENT)]
    assert frames.count(_DONE) == 1 and frames[-1] == _DONE, f"not one [DONE] at the end: {frames[-3:]}"
    stream = Stream()
    for frame in frames[:-1]:
        assert frame.startswith(_DATA), f"not a frame: {frame[:200]!r}"
        stream.add(json.loads(frame.removeprefix(_DATA)))
    for index in range(num_choices):
        num_ends = stream.finishes[index] + (stream.error is not None)
        assert num_ends == 1, f"choice {index} has {num_ends} endings"
    assert set(stream.texts) <= set(range(num_choices)), f"choices nobody asked for: {sorted(stream.texts)}"
    return stream
