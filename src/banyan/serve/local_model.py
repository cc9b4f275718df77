"""A served model in this process: an engine thread, heard from the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from banyan.core.model_directory import MANIFEST, name_of
from banyan.core.types import Completion, ImageGrid, Prediction, Prompt
from banyan.infer.candidates import best_candidate, candidates_of
from banyan.infer.embedding import EmbeddingConfig, TextOrIds, TextVector
from banyan.infer.requests import Alternatives, Ticket
from banyan.infer.sampling import SamplingConfig
from banyan.runtime.loaded_model import LoadedModel
from banyan.serve.errors import unavailable
from banyan.serve.served_model import ModelFacts, Piece, PieceListener
from banyan.tasks.base import Task
from banyan.tokenizers.vocabulary import Vocabulary

MAX_WAIT_SECONDS = 30.0  # of a request, until somebody begins to answer it


class LocalModel:
    """Brings an engine's thread and the server's event loop together."""

    def __init__(
        self, loaded: LoadedModel, *, name: str | None = None, max_wait_seconds: float = MAX_WAIT_SECONDS
    ) -> None:
        self._loaded = loaded
        self._max_wait_seconds = max_wait_seconds
        pictures = loaded.description.image_tokenizer
        own_name = name or name_of(loaded.directory)
        self.facts = ModelFacts(
            name=own_name,
            sha256=loaded.sha256,
            created_at=_created_at(loaded.directory),
            max_seq_len=loaded.max_seq_len,
            num_parameters=loaded.num_parameters,
            num_layers=loaded.model.config.num_layers,
            embed_dim=loaded.model.config.embed_dim,
            image_size=None if pictures is None else pictures.image_size,
        )

    def under(self, adapter: str) -> LocalModel:
        """Return the model as it answers under one of its adapters, called `model:adapter`.

        Raises: UnknownNameError if no adapter of this name was loaded.
        """
        own = LocalModel(self._loaded.under(adapter), name=f"{self.facts.name}:{adapter}")
        own.facts = replace(own.facts, parent=self.facts.name, adapter=adapter)
        return own

    @property
    def tasks(self) -> Mapping[str, Task[Any]]:
        """Every task the model was taught, by name."""
        return self._loaded.tasks

    @property
    def vocabulary(self) -> Vocabulary:
        """The ids the model reads and writes."""
        return self._loaded.vocabulary

    @property
    def num_waiting(self) -> int:
        """Prompts that nobody has begun to answer; those of all adapters together."""
        return self._loaded.engine.num_waiting

    @property
    def num_guessed(self) -> tuple[int, int]:
        """Tokens that were guessed ahead of answers, and how many of them were right; of all adapters together."""
        return self._loaded.engine.num_guessed, self._loaded.engine.num_guessed_right

    def sampling_for(self, task: str) -> SamplingConfig:
        """Return how a task answers unless it is asked otherwise."""
        return self._loaded.sampling_for(task)

    def prompt(self, task: str, example: Any) -> Prompt:
        """Return what the model reads when it is asked an example of a task."""
        return self._loaded.prompt(task, example)

    async def answer(
        self, prompt: Prompt, sampling: SamplingConfig, *, listener: PieceListener | None = None, owner: str = ""
    ) -> Completion:
        """Answer one prompt; cancelling the awaiting task frees the engine within one step.

        Raises: ApiError 503 if nobody has begun to answer it in time.
        """
        is_picture = isinstance(prompt.decoding, ImageGrid)
        relay = _Relay(listener or _ignore, asyncio.get_running_loop(), waits_for_text=not is_picture)
        engine = self._loaded.engine.owned_by(owner)
        first, *others = candidates_of(prompt, sampling)
        heard = engine.submit(
            prompt,
            first,
            on_token=relay.on_token,
            on_text=relay.on_text,
            on_alternatives=relay.on_alternatives,
        )
        tickets = [heard]
        try:
            tickets += [engine.submit(prompt, other) for other in others]
            return best_candidate(await asyncio.gather(*map(self._wait_for, tickets)))
        finally:
            for ticket in tickets:
                ticket.cancel()  # of a candidate that nobody waits for any more

    async def _wait_for(self, ticket: Ticket[Completion]) -> Completion:
        future = asyncio.wrap_future(ticket.future)  # cancelling this future cancels the ticket's
        await asyncio.wait((future,), timeout=self._max_wait_seconds)
        if not future.done() and not ticket.has_begun:
            seconds = self._max_wait_seconds
            raise unavailable("queue_timeout", f"nobody was free for this request in {seconds:g} s; retry in 2 s")
        return await future

    def read(self, prompt: Prompt, completion: Completion) -> Prediction:
        """Make a completion into what a person can read, its picture included."""
        return self._loaded.read(prompt, completion)

    async def read_texts(self, texts: Sequence[TextOrIds], how: EmbeddingConfig) -> list[TextVector]:
        """Return texts as the model reads them for their vectors; beside the event loop, for they may be many."""
        return await asyncio.to_thread(self._loaded.engine.read_texts, texts, how)

    async def embed(self, texts: Sequence[TextVector], *, owner: str = "") -> list[NDArray[np.float32]]:
        """Return the vector of each text, of the first layer asked for; cancelling the awaiting task gives them up."""
        tickets = self._loaded.engine.owned_by(owner).submit_texts(texts)
        try:
            found = await asyncio.gather(*(asyncio.wrap_future(ticket.future) for ticket in tickets))
        finally:
            for ticket in tickets:
                ticket.cancel()  # of those still waiting, where one has failed or the client has left
        return [vectors[0].numpy() for vectors in found]

    def close(self) -> None:
        """Stop the engine; answers in the making fail."""
        self._loaded.close()


def _created_at(directory: Path) -> int:
    """Return when a model was saved; an adapter of another tool has no manifest."""
    manifest = directory / MANIFEST
    return int((manifest if manifest.exists() else directory).stat().st_mtime)


def _ignore(_: Piece) -> None:
    """Hear nothing."""


class _Relay:
    """Carries pieces from the engine's thread into the event loop, in order."""

    def __init__(self, listener: PieceListener, loop: asyncio.AbstractEventLoop, *, waits_for_text: bool) -> None:
        self._listener = listener
        self._loop = loop
        self._waits_for_text = waits_for_text  # False: the codes of a picture, each of which is certain
        self._tokens: list[tuple[int, float]] = []  # since the last piece of text
        self._alternatives: list[Alternatives] = []

    def on_token(self, token_id: int, log_prob: float) -> None:
        """Keep a token until its text comes."""
        self._tokens.append((token_id, log_prob))
        if not self._waits_for_text:
            self.on_text("")

    def on_alternatives(self, alternatives: Alternatives) -> None:
        """Keep what else might have come in the place of the next token."""
        self._alternatives.append(alternatives)

    def on_text(self, text: str) -> None:
        """Send a piece on its way."""
        piece = Piece(text=text, tokens=tuple(self._tokens), alternatives=tuple(self._alternatives))
        self._tokens, self._alternatives = [], []
        self._loop.call_soon_threadsafe(self._listener, piece)
