"""An answer as an iterator: its text, piece by piece, as it is written."""

from __future__ import annotations

from collections.abc import Iterator
from queue import SimpleQueue

from banyan.core.types import Completion, Prompt
from banyan.infer.engine import Engine
from banyan.infer.requests import Ticket
from banyan.infer.sampling import SamplingConfig


def stream_text(engine: Engine, prompt: Prompt, sampling: SamplingConfig) -> Iterator[str]:
    """Return the pieces of an answer; joined, they are the whole of it. Leaving the loop early cancels the rest.

    Raises: at once, if the prompt cannot be answered.
    """
    pieces: SimpleQueue[str | None] = SimpleQueue()
    ticket = engine.submit(prompt, sampling, on_text=pieces.put)
    ticket.future.add_done_callback(lambda _: pieces.put(None))
    return _pieces(ticket, pieces)


def _pieces(ticket: Ticket[Completion], pieces: SimpleQueue[str | None]) -> Iterator[str]:
    try:
        while (piece := pieces.get()) is not None:
            yield piece
        ticket.result()  # raises what ended it, if it did not end well
    finally:
        ticket.cancel()
