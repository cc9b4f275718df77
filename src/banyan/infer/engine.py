"""The engine: many requests of many tasks, answered together by one model.

Answers that are written token by token share a fixed number of cache slots and join or leave between steps; answers
that are chosen (labels, tags, spans), likelihoods and vectors are read in batched single passes beside them.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from banyan.core.errors import ConfigError
from banyan.core.types import Completion, Prompt, TokenSequence
from banyan.infer.admission import Limits
from banyan.infer.decoding import Decoder
from banyan.infer.embedding import EmbeddingConfig, TextOrIds, TextVector, text_vectors
from banyan.infer.likelihood import bits, document_windows
from banyan.infer.requests import AlternativesCallback, TextCallback, Ticket, TokenCallback
from banyan.infer.sampling import GREEDY, SamplingConfig
from banyan.infer.scoring import Expectation, Likelihood, ScoringJob, question_of
from banyan.infer.worker import Work, Worker
from banyan.model.transformer import Transformer
from banyan.tokenizers.vocabulary import Vocabulary

PREFIX_CACHE_BYTES = 256 << 20  # of prompts' beginnings that are remembered; 0: none


class Engine:
    """Answers prompts with one model, from any number of threads.

    The same prompt and sampling give the same answer alone and among others, to the last bit (measured in float32 on
    the CPU with torch 2.13, on one thread or several, where the environment held MKL_CBWR=AUTO,STRICT before torch was
    imported), with and without the prompts' beginnings that are remembered, and also when it was set aside because all
    answers in the making would have held more than `max_held_tokens` (None: as many as fit into the slots), and with
    any number of `max_lookup_tokens`, which are guessed ahead in rows that are idle (0: none).
    The model is put into evaluation mode and belongs to the engine until `close`; it must not be trained meanwhile.
    `finishes` names the adapter that answers a task where the request names none.
    """

    def __init__(
        self,
        model: Transformer,
        vocabulary: Vocabulary,
        *,
        num_slots: int = 16,
        prefix_cache_bytes: int = PREFIX_CACHE_BYTES,
        max_held_tokens: int | None = None,
        max_lookup_tokens: int = 0,
        finishes: Mapping[str, str] | None = None,
    ) -> None:
        if num_slots < 1:
            raise ConfigError(f"num_slots={num_slots} must be 1 or more: it is how many answers are written at once.")
        if max_lookup_tokens < 0:
            raise ConfigError(f"max_lookup_tokens={max_lookup_tokens} must be 0 (nothing is guessed ahead) or more.")
        if vocabulary.text_size != model.config.text_vocab_size:
            raise ConfigError(
                f"the vocabulary has {vocabulary.text_size} text and special ids, the model "
                f"{model.config.text_vocab_size}; they do not belong together."
            )
        self.adapter: str | None = None  # that answers; None: the model itself
        self._finishes = dict(finishes or {})  # task → adapter that answers it where none was asked for
        self._model = model
        self._shared: Engine | None = None
        self._vocabulary = vocabulary
        self._limits = Limits(config=model.config, heads=model.head_specs, num_slots=num_slots)
        self.owner = ""  # of what is asked
        self._decoder = Decoder(
            model.eval(),
            vocabulary,
            num_slots=num_slots,
            prefix_cache_bytes=prefix_cache_bytes,
            max_held_tokens=max_held_tokens,
            max_lookup_tokens=max_lookup_tokens,
        )
        self._worker = Worker(model, self._decoder)
        # The thread holds the worker, never the engine, so an engine that is forgotten ends its thread.
        self._stop = weakref.finalize(self, self._worker.close)

    def under(self, adapter: str) -> Engine:
        """Return this engine with all its answers given through one of the model's adapters.

        Both share slots and lines, so that requests of many adapters are answered together; closing one closes both.
        Raises: UnknownNameError if the model has no adapter of this name.
        """
        bound = copy.copy(self)
        bound.adapter = adapter
        bound._limits = replace(self._limits, heads=self._model.heads_under(adapter).specs)
        bound._shared = self  # an engine that is forgotten ends its thread
        return bound

    def owned_by(self, owner: str) -> Engine:
        """Return this engine for one of several owners.

        They take turns when there is more to do than can be done at once, and what was remembered of the prompts of one
        shortens no answer of another.
        """
        bound = copy.copy(self)
        bound.owner = owner
        bound._shared = self  # as in `under`
        return bound

    @property
    def max_seq_len(self) -> int:
        """Tokens the model can address, prompt and answer together."""
        return self._limits.config.max_seq_len

    @property
    def num_slots(self) -> int:
        """Answers that can be written at once."""
        return self._limits.num_slots

    @property
    def num_waiting(self) -> int:
        """Requests that nobody has begun to answer."""
        return self._worker.num_waiting

    @property
    def num_live(self) -> int:
        """Answers in the making."""
        return self._worker.num_live

    @property
    def num_set_aside(self) -> int:
        """Times that an answer lost its slots to older ones for want of room."""
        return self._decoder.num_set_aside

    @property
    def num_guessed(self) -> int:
        """Tokens that were guessed ahead."""
        return self._decoder.num_guessed

    @property
    def num_guessed_right(self) -> int:
        """Tokens that were guessed ahead and became part of an answer."""
        return self._decoder.num_guessed_right

    def submit(
        self,
        prompt: Prompt,
        sampling: SamplingConfig = GREEDY,
        *,
        on_token: TokenCallback | None = None,
        on_text: TextCallback | None = None,
        on_alternatives: AlternativesCallback | None = None,
    ) -> Ticket[Completion]:
        """Put one prompt in line and return at once.

        `on_alternatives` hears of the likeliest tokens of a place, where the sampling asks for them, and then
        `on_token(token_id, log_prob)` and `on_text(text)` hear of each token and each piece of text as soon as it is
        certain to belong to the answer; they run in the engine's thread and must be quick. What raises there fails
        this request alone. A prompt with a closed answer (labels, tags, a span) calls neither.
        Raises: ContextLengthError if the prompt is too long; InputError or ConfigError if it cannot be answered.
        """
        work = self._admit(prompt, sampling, on_token=on_token, on_text=on_text, on_alternatives=on_alternatives)
        self._worker.add([work])
        return work.ticket

    def complete(
        self, prompts: Sequence[Prompt], sampling: SamplingConfig | Sequence[SamplingConfig] = GREEDY
    ) -> list[Completion]:
        """Answer many prompts and return their completions in the same order.

        Raises: as `submit`, before anything is answered; if one fails later, its error, and the others are given up.
        """
        samplings = [sampling] * len(prompts) if isinstance(sampling, SamplingConfig) else list(sampling)
        work = [self._admit(prompt, own) for prompt, own in zip(prompts, samplings, strict=True)]
        return self._run_all(work, lengths=[len(prompt) for prompt in prompts])

    def log_likelihood(self, sequences: Sequence[TokenSequence]) -> list[tuple[float, ...]]:
        """Return the log-probability of every target that counts, sequence by sequence.

        Units: nats; targets whose loss weight is 0 are left out.
        Raises: ContextLengthError if a sequence is too long.
        """
        for sequence in sequences:
            self._limits.check_length(len(sequence))
        jobs = [ScoringJob(Likelihood(own), self.adapter_for(own.task), self.owner) for own in sequences]
        return self._run_all(jobs, lengths=[len(sequence) for sequence in sequences])

    def expectations(self, sequences: Sequence[TokenSequence]) -> list[tuple[tuple[float, ...], bool]]:
        """Return what `log_likelihood` does, and for each sequence whether greedy decoding would write its targets.

        Raises: ContextLengthError if a sequence is too long.
        """
        for sequence in sequences:
            self._limits.check_length(len(sequence))
        jobs = [ScoringJob(Expectation(sequence), self.adapter) for sequence in sequences]
        return self._run_all(jobs, lengths=[len(sequence) for sequence in sequences])

    def bits(self, texts: Sequence[str]) -> list[float]:
        """Return how many bits each text costs, its end not counted; 8 bits for each byte are no knowledge at all.

        Each text is read from its beginning; one that is longer than the model can read at once, in windows of which
        every one after the first begins half a context early.
        """
        first_id, limit = self._vocabulary.bos_id, self.max_seq_len
        windows = [
            document_windows(token_ids, first_id=first_id, max_seq_len=limit)
            for token_ids in self._vocabulary.encode_batch(texts)
        ]
        scores = iter(self.log_likelihood([window for own in windows for window in own]))
        return [bits([log_prob for _ in own for log_prob in next(scores)]) for own in windows]

    def read_texts(
        self, texts: Sequence[TextOrIds], how: EmbeddingConfig, *, first_number: int = 1
    ) -> list[TextVector]:
        """Return texts whose vectors are wanted as the engine reads them, for `submit_texts`.

        Raises: ContextLengthError, InputError or ConfigError if one of them cannot be read; `first_number` is what the
        first text is called there.
        """
        return text_vectors(
            texts, how, vocabulary=self._vocabulary, config=self._limits.config, first_number=first_number
        )

    def submit_texts(self, texts: Sequence[TextVector]) -> list[Ticket[Tensor]]:
        """Put texts whose vectors are wanted in line and return at once.

        Shapes: each ticket brings (N, D), one float32 vector on the CPU for each layer asked for.
        """
        jobs = [ScoringJob(question, self.adapter, self.owner) for question in texts]
        self._worker.add(sorted(jobs, key=lambda job: -job.num_tokens))
        return [job.ticket for job in jobs]

    def embed(self, texts: Sequence[TextOrIds], how: EmbeddingConfig, *, first_number: int = 1) -> Tensor:
        """Return the vectors of texts, in their order.

        Shapes: (texts, layers, D), float32 on the CPU.
        Raises: as `read_texts`, before anything is read.
        """
        tickets = self.submit_texts(self.read_texts(texts, how, first_number=first_number))
        try:
            found = [ticket.result() for ticket in tickets]
        except BaseException:
            for ticket in tickets:
                ticket.cancel()
            raise
        return torch.stack(found) if found else torch.zeros(0, len(how.layers), self._limits.config.embed_dim)

    def close(self) -> None:
        """End the engine's thread; requests that have not ended fail. Closing twice does nothing."""
        self._stop()

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _admit(
        self,
        prompt: Prompt,
        sampling: SamplingConfig,
        *,
        on_token: TokenCallback | None = None,
        on_text: TextCallback | None = None,
        on_alternatives: AlternativesCallback | None = None,
    ) -> Work:
        adapter = self.adapter_for(prompt.task)
        question = question_of(prompt, adapter=adapter)
        if question is None:
            request = self._limits.admit_generation(
                prompt,
                sampling,
                adapter=adapter,
                on_token=on_token,
                on_text=on_text,
                on_alternatives=on_alternatives,
            )
            return replace(request, owner=self.owner)
        self._limits.check_scoring(prompt)
        return ScoringJob(question, adapter, self.owner)

    def adapter_for(self, task: str) -> str | None:
        """Return through which adapter a task is answered."""
        return self._finishes.get(task) if self.adapter is None else self.adapter

    def _run_all(self, work: Sequence[Work], *, lengths: Sequence[int]) -> list[Any]:
        # Neighbours of similar length share a batch with little padding.
        order = sorted(range(len(work)), key=lambda index: -lengths[index])
        self._worker.add([work[index] for index in order])
        try:
            return [item.ticket.result() for item in work]
        except BaseException:
            for item in work:
                item.ticket.cancel()
            raise
