"""The frozen types that pass through the doors between rooms. No torch here.

Document → TokenSequence → Batch → StepResult     (learning; the last two hold tensors: data/, train/)
Prompt → Completion → Prediction                  (answering)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, TypeAlias

NO_TARGET, NO_GRID = -1, -1  # a position that has nothing to predict; one that does not predict an image code
STARTS_HERE, ENDS_HERE, IN_CONTEXT = 1, 2, 4  # bits of a span head's target
MAX_NGRAM_BUCKETS = 1 << 24  # rows of a head's table

Pooling: TypeAlias = Literal["last", "mean"]  # what stands for a whole text: its last position, or the mean of all
Row: TypeAlias = dict[str, Any]  # one record as a file holds it, before a task has read it


class MaskKind(StrEnum):
    """Which earlier and later positions of its own segment a position may read."""

    CAUSAL = "causal"  # itself and those before it
    PREFIX = "prefix"  # the source reads itself in both directions, the answer is causal
    FULL = "full"  # everything in the segment


class HeadKind(StrEnum):
    """What a task head computes from the trunk's last hidden states."""

    CLASSIFICATION = "classification"  # one label for the whole source
    TAGGING = "tagging"  # one label per marked position
    SPAN = "span"  # two scores per position: answer starts here, answer ends here


class FinishReason(StrEnum):
    """Why an answer ended, in the words of the OpenAI protocol."""

    STOP = "stop"
    LENGTH = "length"


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """One text of a corpus."""

    text: str
    source: str  # the file it came from, or a data set's name
    identity: str  # stable within the source: line number, row id, path


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadSpec:
    """A small linear layer on the trunk that answers one closed question."""

    name: str
    kind: HeadKind
    labels: tuple[str, ...] = ()  # empty for spans
    pooling: Pooling = "last"  # what a classification head reads: the last position, or the mean of all
    ngram_buckets: int = 0  # rows of a table of tokens and pairs that a classification head adds up besides; 0: none
    reads_matches: bool = False  # a span head also reads where the question's tokens come again in the context

    @property
    def num_outputs(self) -> int:
        """Width of the head: one logit per label; start and end for spans."""
        return 2 if self.kind is HeadKind.SPAN else len(self.labels)


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenSequence:
    """One example as a model learns it; all five sequences have the same length.

    `targets[t]` belongs to position t as it is (already shifted). For the language-model head it is a token id; for a
    classification or tagging head a label index; for a span head the bits STARTS_HERE, ENDS_HERE and IN_CONTEXT.
    """

    task: str
    token_ids: tuple[int, ...]
    targets: tuple[int, ...]  # NO_TARGET where there is none
    loss_weights: tuple[float, ...]  # 0 where no loss counts
    mask: MaskKind
    prefix_len: int = 0  # tokens of the source; read in both directions under PREFIX
    grid_ids: tuple[int, ...] = ()  # which cell of a picture each position predicts; empty: no picture

    def __len__(self) -> int:
        return len(self.token_ids)


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelSet:
    """The answer is one of these labels, read from a head or scored as words by the language-model head."""

    labels: tuple[str, ...]
    head: str | None = None  # None: score `label_token_ids`
    pooling: Pooling = "last"  # what the head reads
    label_token_ids: tuple[tuple[int, ...], ...] = ()  # the words of each label, with the end token
    length_normalised: bool = False  # compare words by their mean, not their sum, of log-probabilities


@dataclass(frozen=True, kw_only=True, slots=True)
class Tags:
    """The answer is one BIO tag for each marked position; only legal sequences can come out."""

    labels: tuple[str, ...]  # "O", "B-x", "I-x", …
    head: str
    positions: tuple[int, ...]  # index into the prompt of each unit that gets a tag


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """The answer is a contiguous part of the context, or nothing where `may_be_empty`."""

    head: str
    first: int  # first and last prompt position that may hold the answer
    last: int
    max_tokens: int = 32
    may_be_empty: bool = False  # position 0 then stands for "no answer"


@dataclass(frozen=True, kw_only=True, slots=True)
class Text:
    """The answer is free text."""

    max_tokens: int
    stop_token_ids: tuple[int, ...]
    drops_first_space: bool = False  # the format puts a space before the first word; it is no part of the answer


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageGrid:
    """The answer is a complete picture: exactly `grid_size`² image codes, row by row."""

    grid_size: int  # rows = columns
    first_code_id: int  # token id of image code 0
    num_codes: int

    @property
    def num_tokens(self) -> int:
        """Codes in one picture."""
        return self.grid_size * self.grid_size


Decoding: TypeAlias = LabelSet | Tags | Span | Text | ImageGrid


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompt:
    """What a model is asked: token ids, how they see each other, and what form the answer must have."""

    task: str
    token_ids: tuple[int, ...]
    mask: MaskKind  # PREFIX and FULL: the whole prompt is read in both directions
    decoding: Decoding
    unconditional_token_ids: tuple[int, ...] = ()  # the prompt without its wish, for classifier-free guidance
    grid_ids: tuple[int, ...] = ()  # which cell of a picture in the question each position stands before; empty: none
    notes: Any = field(default=None, compare=False)  # what the task needs to read the completion (offsets, words)
    num_dropped_tokens: int = 0  # source tokens cut off so that the prompt fits

    def __len__(self) -> int:
        return len(self.token_ids)


@dataclass(frozen=True, kw_only=True, slots=True)
class Completion:
    """What the model answered, before a task has read it. Only the fields of its decoding are set."""

    finish_reason: FinishReason = FinishReason.STOP
    token_ids: tuple[int, ...] = ()  # Text, ImageGrid: without the stop token
    token_log_probs: tuple[float, ...] = ()  # of each token in `token_ids`
    alternatives: tuple[tuple[tuple[int, float], ...], ...] = ()  # Text: the likeliest tokens there, if asked for
    wish_ratio: float | None = None  # ImageGrid: log-probability with the wish minus without; None: not compared
    text: str | None = None  # Text: the answer, cut before a stop text even inside a token
    label_probs: tuple[float, ...] = ()  # LabelSet: one per label, sums to 1
    tag_ids: tuple[int, ...] = ()  # Tags: one per position
    tag_probs: tuple[float, ...] = ()  # Tags: probability of each chosen tag
    span: tuple[int, int] | None = None  # Span: first and last prompt position (inclusive); None: no answer
    span_prob: float = 0.0  # Span: probability of the chosen span
    num_cached_tokens: int = field(default=0, compare=False)  # of the prompt, that were not read again


@dataclass(frozen=True, kw_only=True, slots=True)
class Entity:
    """A labelled stretch of the source text, in characters, end exclusive."""

    label: str
    start: int
    end: int
    text: str
    score: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """A picture as 8-bit samples, row by row, channels last."""

    width: int
    height: int
    channels: int  # 1 grey, 3 RGB
    pixels: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """An answer a person can read. Only the fields of its task's kind are set."""

    task: str
    text: str  # the label, the answer, the translation …; for tags the tagged words, for pictures ""
    score: float | None = None  # the model's probability of this answer, where it has one
    labels: dict[str, float] | None = None  # probability of every label, best first
    tags: tuple[str, ...] | None = None  # one per unit of the source
    entities: tuple[Entity, ...] | None = None
    span: tuple[int, int] | None = None  # characters of the context, end exclusive
    image: Image | None = None
    image_codes: tuple[int, ...] | None = None
    finish_reason: FinishReason = FinishReason.STOP
    num_prompt_tokens: int = 0
    num_completion_tokens: int = 0
    num_dropped_tokens: int = 0  # source tokens that did not fit and were not read
