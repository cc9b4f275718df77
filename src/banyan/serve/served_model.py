"""The seam between the HTTP server and the model: what the server asks of it, whichever process it lives in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from banyan.core.types import Completion, Prediction, Prompt
from banyan.infer.embedding import EmbeddingConfig, TextOrIds, TextVector
from banyan.infer.requests import Alternatives
from banyan.infer.sampling import SamplingConfig
from banyan.tasks.base import Task
from banyan.tokenizers.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFacts:
    """What is told about a model to those who may use it."""

    name: str
    sha256: str  # of its manifest
    created_at: int  # seconds since 1970
    max_seq_len: int
    num_parameters: int
    num_layers: int
    embed_dim: int  # numbers in the vector of a text
    image_size: int | None = None  # pixels, rows = columns; None: the model does not draw
    parent: str | None = None  # an adapter: the name of its model
    adapter: str | None = None  # an adapter: its own name, which a request may give alone


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """Text that is certain, with the tokens that came since the last piece."""

    text: str
    tokens: tuple[tuple[int, float], ...] = ()  # token id and its log-probability
    alternatives: tuple[Alternatives, ...] = ()  # the likeliest of each token's place, where they were asked for


PieceListener = Callable[[Piece], None]


class ServedModel(Protocol):
    """One model, ready to answer. All methods are called from the event loop and must not hold it up."""

    @property
    def facts(self) -> ModelFacts:
        """Name, size and fingerprint."""
        ...

    @property
    def tasks(self) -> Mapping[str, Task[Any]]:
        """Every task the model was taught, by name."""
        ...

    @property
    def vocabulary(self) -> Vocabulary:
        """The ids the model reads and writes."""
        ...

    @property
    def num_waiting(self) -> int:
        """Prompts that nobody has begun to answer; those of all adapters together."""
        ...

    @property
    def num_guessed(self) -> tuple[int, int]:
        """Tokens that were guessed ahead of answers, and how many of them were right."""
        ...

    def sampling_for(self, task: str) -> SamplingConfig:
        """Return how a task answers unless it is asked otherwise."""
        ...

    def prompt(self, task: str, example: Any) -> Prompt:
        """Return what the model reads when it is asked an example of a task."""
        ...

    async def answer(
        self, prompt: Prompt, sampling: SamplingConfig, *, listener: PieceListener | None = None, owner: str = ""
    ) -> Completion:
        """Answer one prompt; cancelling the awaiting task frees the engine within one step.

        The listener is called in the event loop, before the completion is returned. Owners take turns, and nothing that
        is remembered of the prompts of one shortens an answer of another.
        Raises: ContextLengthError or InputError if the prompt cannot be answered; ApiError 503 if it waited too long.
        """
        ...

    def read(self, prompt: Prompt, completion: Completion) -> Prediction:
        """Make a completion into what a person can read, its picture included."""
        ...

    async def read_texts(self, texts: Sequence[TextOrIds], how: EmbeddingConfig) -> list[TextVector]:
        """Return texts as the model reads them for their vectors.

        Raises: ContextLengthError, InputError or ConfigError if one of them cannot be read.
        """
        ...

    async def embed(self, texts: Sequence[TextVector], *, owner: str = "") -> list[NDArray[np.float32]]:
        """Return the vector of each text, of the first layer asked for; cancelling the awaiting task gives them up.

        Owners take turns, text by text.
        """
        ...

    def close(self) -> None:
        """Stop answering and give the memory back."""
        ...
