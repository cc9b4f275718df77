"""Questions with closed answers: each is one or a few rows to read once, and a way to read the result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from banyan.core.types import Completion, LabelSet, Pooling, Prompt, Span, Tags, TokenSequence
from banyan.infer.forward import Row, hidden_states, prompt_row, sequence_row
from banyan.infer.labels import label_probs_from_logits, label_probs_from_words
from banyan.infer.likelihood import are_likeliest, target_log_probs
from banyan.infer.requests import Ticket
from banyan.infer.spans import best_span
from banyan.infer.tags import best_tags
from banyan.model.ngrams import ReadTokens
from banyan.model.transformer import Transformer

R_co = TypeVar("R_co", covariant=True)


class Question(Protocol[R_co]):
    """Something the model answers in one forward pass."""

    @property
    def rows(self) -> tuple[Row, ...]:
        """What the model has to read."""
        ...

    def answer(self, model: Transformer, hidden: Sequence[Tensor]) -> R_co:
        """Read the answer from the hidden states of the rows' positions, one (P, D) for each row."""
        ...


@dataclass(frozen=True, slots=True)
class HeadLabels:
    """A label, read from a head at the prompt's last position, or from the mean of all."""

    prompt: Prompt
    head: str
    adapter: str | None = None  # whose head it is
    pooling: Pooling = "last"

    @property
    def rows(self) -> tuple[Row, ...]:
        """The prompt."""
        if self.pooling == "mean":
            return (replace(prompt_row(self.prompt, positions=range(len(self.prompt))), averages=True),)
        return (prompt_row(self.prompt, positions=[len(self.prompt) - 1]),)

    def answer(self, model: Transformer, hidden: Sequence[Tensor]) -> Completion:
        """Return a probability for every label."""
        reads_tokens = model.heads_under(self.adapter).reads_tokens(self.head)
        tokens = ReadTokens.of_rows(torch.tensor([self.prompt.token_ids])) if reads_tokens else None
        logits_L = model.head_logits(self.head, hidden[0].to(model.dtype), adapter=self.adapter, tokens=tokens)[0]
        return Completion(label_probs=label_probs_from_logits(logits_L))


@dataclass(frozen=True, slots=True)
class WordLabels:
    """A label, chosen by how probable its words are as the answer."""

    prompt: Prompt
    decoding: LabelSet

    @property
    def rows(self) -> tuple[Row, ...]:
        """The prompt with each label behind it; the last token of a label is predicted but not read."""
        first = len(self.prompt) - 1
        return tuple(
            prompt_row(self.prompt, positions=range(first, first + len(words)), answer_ids=words[:-1])
            for words in self.decoding.label_token_ids
        )

    def answer(self, model: Transformer, hidden: Sequence[Tensor]) -> Completion:
        """Return a probability for every label."""
        words = self.decoding.label_token_ids
        scores = [target_log_probs(model, states, ids) for states, ids in zip(hidden, words, strict=True)]
        probs = label_probs_from_words(scores, length_normalised=self.decoding.length_normalised)
        return Completion(label_probs=probs)


@dataclass(frozen=True, slots=True)
class TagReading:
    """A legal sequence of tags."""

    prompt: Prompt
    decoding: Tags
    adapter: str | None = None  # whose head it is

    @property
    def rows(self) -> tuple[Row, ...]:
        """The prompt."""
        return (prompt_row(self.prompt, positions=self.decoding.positions),)

    def answer(self, model: Transformer, hidden: Sequence[Tensor]) -> Completion:
        """Return the best legal tags and their probabilities."""
        logits_NL = model.head_logits(self.decoding.head, hidden[0], adapter=self.adapter)
        tag_ids, probs = best_tags(logits_NL, self.decoding.labels)
        return Completion(tag_ids=tag_ids, tag_probs=probs)


@dataclass(frozen=True, slots=True)
class SpanReading:
    """A stretch of the prompt."""

    prompt: Prompt
    decoding: Span
    adapter: str | None = None  # whose head it is

    @property
    def rows(self) -> tuple[Row, ...]:
        """The prompt."""
        return (prompt_row(self.prompt, positions=range(len(self.prompt))),)

    def answer(self, model: Transformer, hidden: Sequence[Tensor]) -> Completion:
        """Return the best span and its probability."""
        context = (self.decoding.first, self.decoding.last)
        tokens = ReadTokens.of_rows(torch.tensor([self.prompt.token_ids]), context=context)
        logits_P2 = model.head_logits(self.decoding.head, hidden[0], adapter=self.adapter, tokens=tokens)
        span, prob = best_span(logits_P2, self.decoding)
        return Completion(span=span, span_prob=prob)


@dataclass(frozen=True, slots=True)
class Likelihood:
    """How probable the targets of a sequence are."""

    sequence: TokenSequence

    @property
    def rows(self) -> tuple[Row, ...]:
        """The sequence."""
        return (sequence_row(self.sequence, positions=_counted(self.sequence)),)

    def answer(self, model: Transformer, hidden: Sequence[Tensor]) -> tuple[float, ...]:
        """Return the log-probability of every target that counts, in order."""
        targets = [self.sequence.targets[t] for t in _counted(self.sequence)]
        return tuple(target_log_probs(model, hidden[0], targets))


@dataclass(frozen=True, slots=True)
class Expectation:
    """How probable the targets of a sequence are, and whether each is the most probable one."""

    sequence: TokenSequence

    @property
    def rows(self) -> tuple[Row, ...]:
        """The sequence."""
        return Likelihood(self.sequence).rows

    def answer(self, model: Transformer, hidden: Sequence[Tensor]) -> tuple[tuple[float, ...], bool]:
        """Return the log-probability of every target that counts, and whether no token is likelier than any of them."""
        targets = [self.sequence.targets[t] for t in _counted(self.sequence)]
        return tuple(target_log_probs(model, hidden[0], targets)), are_likeliest(model, hidden[0], targets)


def _counted(sequence: TokenSequence) -> list[int]:
    return [t for t, weight in enumerate(sequence.loss_weights) if weight > 0]


def question_of(prompt: Prompt, *, adapter: str | None = None) -> Question[Completion] | None:
    """Return the question a prompt asks of an adapter or the model, or None if it is answered token by token."""
    decoding = prompt.decoding
    if isinstance(decoding, LabelSet):
        if decoding.head is None:
            return WordLabels(prompt, decoding)
        return HeadLabels(prompt, decoding.head, adapter, decoding.pooling)
    if isinstance(decoding, Tags):
        return TagReading(prompt, decoding, adapter)
    if isinstance(decoding, Span):
        return SpanReading(prompt, decoding, adapter)
    return None


@dataclass(eq=False)
class ScoringJob:
    """A question on its way through the engine."""

    question: Question[Any]
    adapter: str | None = None  # that answers it; None: the model itself
    owner: str = ""  # who asked, and takes turns with others
    ticket: Ticket[Any] = field(default_factory=Ticket)

    num_slots = 0  # read without a cache

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """What the model has to read, worked out once."""
        return tuple(replace(row, adapter=self.adapter) for row in self.question.rows)

    @property
    def num_tokens(self) -> int:
        """Tokens to read."""
        return sum(map(len, self.rows))

    @property
    def is_done(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self.ticket.is_done


def run_jobs(model: Transformer, jobs: Sequence[ScoringJob], *, max_batch_tokens: int) -> None:
    """Answer several questions with as few forward passes as their sizes allow; each fails or succeeds on its own."""
    try:
        hidden = hidden_states(model, [row for job in jobs for row in job.rows], max_batch_tokens=max_batch_tokens)
    except Exception as error:
        if len(jobs) == 1:
            jobs[0].ticket.fail(error)
            return
        # One of them broke the batch; alone, the others go through.
        for job in jobs:
            run_jobs(model, [job], max_batch_tokens=max_batch_tokens)
        return
    for job in jobs:
        own, hidden = hidden[: len(job.rows)], hidden[len(job.rows) :]
        _read(model, job, own)


def _read(model: Transformer, job: ScoringJob, hidden: Sequence[Tensor]) -> None:
    try:
        job.ticket.succeed(job.question.answer(model, hidden))
    except Exception as error:
        job.ticket.fail(error)
