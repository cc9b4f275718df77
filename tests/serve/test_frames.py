"""Whatever happens, a stream has exactly one ending and then [DONE]."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from banyan.core.errors import InputError, StoreError
from banyan.serve.answering import Listener
from banyan.serve.errors import ApiError, as_api_error
from banyan.serve.event_stream import Ending, EventStream
from banyan.serve.frames import FrameWriter
from banyan.serve.live import LiveAnswer
from banyan.serve.openai_shapes import ChatShape, CompletionShape, Delta, ScoredToken, Shape, Usage

USAGE = Usage(num_prompt_tokens=3, num_completion_tokens=4)
ENVELOPE = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "tiny"}


def make_writer(shape: Shape | None = None, *, num_choices: int = 1, includes_usage: bool = False) -> FrameWriter:
    shape = shape or ChatShape(with_log_probs=False)
    return FrameWriter(envelope=ENVELOPE, shape=shape, num_choices=num_choices, includes_usage=includes_usage)


def parse(raw: bytes) -> list[Any]:
    frames = [frame for frame in raw.decode().split("\n\n") if frame and not frame.startswith(":")]
    assert all(frame.startswith("data: ") for frame in frames)
    return [frame if frame == "data: [DONE]" else json.loads(frame.removeprefix("data: ")) for frame in frames]


async def stream(work: Any, writer: FrameWriter) -> bytes:
    """Send a live answer to a client that stays, and return what it got."""
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    response = EventStream(
        LiveAnswer(work),
        writer,
        translate=partial(as_api_error, request_id="01"),
        ping_seconds=0.01,
        send_seconds=1,
    )
    await response({"type": "http"}, asyncio.Event().wait, send)  # type: ignore[arg-type]
    assert sent[0]["status"] == 200
    assert sent[-1]["more_body"] is False
    return b"".join(message["body"] for message in sent[1:])


FAILURES = [
    RuntimeError("a secret"),
    InputError("bad"),
    StoreError("down"),
    TimeoutError(),
    ApiError(504, "timeout", "x"),
]


@pytest.mark.parametrize("error", [None, *FAILURES], ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("num_pieces", [0, 1, 4])
def test_a_stream_ends_with_one_finish_per_choice_or_one_error(num_pieces: int, error: Exception | None) -> None:
    async def work(listener: Listener) -> Ending:
        for number in range(num_pieces):
            listener.hear(Delta(index=number % 2, text=f"piece {number}"))
            await asyncio.sleep(0)
        if error is not None:
            raise error
        return ("stop", "length"), USAGE

    parts = parse(asyncio.run(stream(work, make_writer(num_choices=2))))
    assert parts[-1] == "data: [DONE]"
    assert parts.count("data: [DONE]") == 1
    finishes = [
        (choice["index"], choice["finish_reason"])
        for part in parts[:-1]
        for choice in part.get("choices", ())
        if choice["finish_reason"] is not None
    ]
    errors = [part["error"] for part in parts[:-1] if "error" in part]
    assert finishes == ([(0, "stop"), (1, "length")] if error is None else [])
    assert len(errors) == (0 if error is None else 1)
    assert "secret" not in json.dumps(parts)
    assert sum(1 for part in parts[:-1] if part.get("choices") and part["choices"][0]["delta"].get("content")) == (
        num_pieces
    )


def test_a_mistake_of_ours_in_a_chunk_is_an_error_frame_too() -> None:
    class Broken(ChatShape):
        def delta(self, delta: Delta) -> dict[str, Any]:
            raise KeyError("a secret")

    async def work(listener: Listener) -> Ending:
        listener.hear(Delta(index=0, text="x"))
        return ("stop",), USAGE

    parts = parse(asyncio.run(stream(work, make_writer(Broken(with_log_probs=False)))))
    assert [part["error"]["code"] for part in parts[1:-1]] == ["internal_error"]
    assert parts[-1] == "data: [DONE]"


def test_silence_is_bridged_with_comments() -> None:
    async def work(listener: Listener) -> Ending:
        await asyncio.sleep(0.05)
        return ("stop",), USAGE

    raw = asyncio.run(stream(work, make_writer()))
    assert b": ping\n\n" in raw


def test_a_client_that_leaves_stops_the_work() -> None:
    ended: list[str] = []

    async def work(listener: Listener) -> Ending:
        try:
            await asyncio.sleep(600)
        finally:
            ended.append("stopped")
        return ("stop",), USAGE

    async def leave() -> dict[str, str]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        await asyncio.sleep(0)

    async def run() -> None:
        translate = partial(as_api_error, request_id="01")
        live = LiveAnswer(work)
        response = EventStream(live, make_writer(), translate=translate, ping_seconds=600, send_seconds=1)
        await response({"type": "http"}, leave, send)

    asyncio.run(asyncio.wait_for(run(), 60))
    assert ended == ["stopped"]


def test_a_client_that_does_not_read_stops_the_work() -> None:
    async def work(listener: Listener) -> Ending:
        await asyncio.sleep(600)
        return ("stop",), USAGE

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    async def run() -> None:
        translate = partial(as_api_error, request_id="01")
        response = EventStream(
            LiveAnswer(work), make_writer(), translate=translate, ping_seconds=600, send_seconds=0.05
        )
        await response({"type": "http"}, asyncio.Event().wait, send)  # type: ignore[arg-type]

    asyncio.run(asyncio.wait_for(run(), 60))


def test_nothing_can_be_written_after_the_ending() -> None:
    for end in (lambda writer: writer.ending(("stop",), USAGE), lambda writer: writer.failure(FAILURES[-1])):
        writer = make_writer()
        end(writer)
        for late in (
            writer.opening,
            lambda writer=writer: writer.delta(Delta(index=0, text="x")),
            lambda writer=writer: writer.ending(("stop",), USAGE),
            lambda writer=writer: writer.failure(FAILURES[-1]),
        ):
            with pytest.raises(RuntimeError):
                late()


def test_the_chunks_are_those_of_the_protocol() -> None:
    writer = make_writer(includes_usage=True)
    opening, delta, finish, usage, done = parse(
        writer.opening() + writer.delta(Delta(index=0, text="Hel")) + writer.ending(("stop",), USAGE)
    )
    base = {"index": 0, "logprobs": None, "finish_reason": None}
    assert opening == {
        **ENVELOPE,
        "choices": [{**base, "delta": {"role": "assistant", "content": ""}}],
        "usage": None,
    }
    assert delta == {**ENVELOPE, "choices": [{**base, "delta": {"content": "Hel"}}], "usage": None}
    assert finish == {**ENVELOPE, "choices": [{**base, "delta": {}, "finish_reason": "stop"}], "usage": None}
    assert usage["choices"] == []
    assert usage["usage"] == {
        "prompt_tokens": 3,
        "completion_tokens": 4,
        "total_tokens": 7,
        "prompt_tokens_details": {"cached_tokens": 0},
    }
    assert done == "data: [DONE]"


def test_completions_open_without_a_chunk_and_carry_text() -> None:
    writer = make_writer(CompletionShape(with_log_probs=True))
    token = ScoredToken(text="Hel", raw=b"Hel", log_prob=-0.5)
    assert writer.opening() == b""
    (chunk,) = parse(writer.delta(Delta(index=0, text="Hel", tokens=(token,))))
    assert chunk["choices"][0]["text"] == "Hel"
    assert chunk["choices"][0]["logprobs"]["token_logprobs"] == [-0.5]


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_any_text_survives_its_frame(text: str) -> None:
    (part,) = parse(make_writer().delta(Delta(index=0, text=text)))
    assert part["choices"][0]["delta"]["content"] == text
