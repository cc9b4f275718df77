"""What is remembered, as frozen types; and the protocol of whoever remembers it.

No `repr` here shows what a user wrote or what a model answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Any, Protocol, TypeAlias

from banyan.core.ids import new_ulid
from banyan.store.times import utc_microseconds

RequestId: TypeAlias = str  # a ULID
VECTOR_MEDIA_TYPE = "application/x-float32-le"  # of an artifact that holds the vector of a text


class RequestState(StrEnum):
    """How far a request has come; it never goes back."""

    ACCEPTED = "accepted"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"  # the process ended before the answer did


OPEN_STATES = (RequestState.ACCEPTED, RequestState.RUNNING)


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredRequest:
    """A request as it is written before any work begins."""

    endpoint: str  # "/v1/chat/completions", or the verb: "predict"
    task: str
    model_name: str
    body: Mapping[str, Any] = field(repr=False)  # what was asked, exactly
    task_kind: str = ""
    source: Mapping[str, Any] | None = field(default=None, repr=False)  # the input fields of a row of the task
    sources: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)  # of each of several inputs
    params: Mapping[str, Any] = field(default_factory=dict)  # sampling and task settings in force
    seed: int | None = None
    num_choices: int = 1
    stream: bool = False
    prompt_sha256: str = ""  # of the prompt's token ids as little-endian int32
    num_prompt_tokens: int = 0
    model_sha256: str = ""
    client_request_id: str | None = None
    session_id: str | None = None
    api_key_id: str | None = None
    store_mode: str = "full"  # what of all this is kept: see key_types.StoreMode
    received_at: int = field(default_factory=utc_microseconds)
    request_id: RequestId = field(default_factory=new_ulid)


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredArtifact:
    """A picture or another file that belongs to an answer; equal content is kept once."""

    media_type: str  # "image/png"
    data: bytes = field(repr=False)
    width: int | None = None  # pixels
    height: int | None = None

    @property
    def sha256(self) -> str:
        """The artifact's name: the SHA-256 of its bytes."""
        return sha256(self.data).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredOutput:
    """One of the choices of an answer."""

    choice_index: int = 0
    text: str = field(default="", repr=False)
    finish_reason: str | None = "stop"
    prediction: Mapping[str, Any] | None = field(default=None, repr=False)  # label, tags, span …, as JSON values
    token_ids: tuple[int, ...] = field(default=(), repr=False)
    artifacts: tuple[StoredArtifact, ...] = ()
    text_sha256: str | None = None  # of a text that is not kept itself


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredAnswer:
    """How a request ended, with everything that was answered."""

    state: RequestState = RequestState.COMPLETED
    outputs: tuple[StoredOutput, ...] = ()
    http_status: int | None = 200  # None: the process ended before it could say
    error_code: str | None = None
    num_completion_tokens: int = 0
    num_cached_tokens: int = 0
    admitted_at: int | None = None
    first_token_at: int | None = None
    finished_at: int = field(default_factory=utc_microseconds)


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredFeedback:
    """What a person thought of an answer, and what it should have been."""

    request_id: RequestId
    choice_index: int | None = None  # which answer of the request; None: nobody said
    rating: int | None = None  # below 0 bad, above 0 good
    comment: str | None = field(default=None, repr=False)
    correction: str | None = field(default=None, repr=False)  # the right text, label or answer
    api_key_id: str | None = None
    at: int = field(default_factory=utc_microseconds)
    feedback_id: str = field(default_factory=new_ulid)


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredExchange:
    """A request read back, with all that is known of its answer."""

    request: StoredRequest
    state: RequestState
    answer: StoredAnswer | None  # None while the request is open
    partial_text: str = field(default="", repr=False)  # what an open request has answered so far
    feedback: tuple[StoredFeedback, ...] = ()  # oldest first


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredRun:
    """A training or evaluation run as it begins."""

    name: str
    kind: str  # "train", "evaluate", …
    config: Mapping[str, Any]
    directory: str = ""
    seed: int | None = None
    world_size: int = 1
    code_version: str = ""
    dataset_fingerprint: str = ""
    parent_run_id: str | None = None
    started_at: int = field(default_factory=utc_microseconds)
    run_id: str = field(default_factory=new_ulid)


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredCheckpoint:
    """One saved state of a run."""

    run_id: str
    step: int
    path: str
    size_bytes: int = 0
    manifest_sha256: str = ""
    state: str = "valid"  # valid, corrupt or purged


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredEvaluation:
    """One metric of one model on one data set."""

    model_name: str
    dataset: str
    metric: str
    value: float
    num_examples: int
    model_sha256: str = ""
    task: str = ""
    split: str = ""
    ci_low: float | None = None  # bounds of the 95 % interval
    ci_high: float | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    code_version: str = ""
    run_id: str | None = None
    at: int = field(default_factory=utc_microseconds)
    evaluation_id: str = field(default_factory=new_ulid)


class AnswerStore(Protocol):
    """Remembers requests and answers. Safe to call from many threads at once.

    A future that has resolved means: committed to disk. It fails with UncertainWriteError if nobody knows whether that
    was committed, and with another StoreError if nothing was.
    """

    def begin(self, request: StoredRequest) -> Future[RequestId]:
        """Write a request before any work on it begins."""
        ...

    def progress(self, request_id: RequestId, partial_text: str) -> None:
        """Note what has been answered so far; may be dropped under load."""
        ...

    def finish(self, request_id: RequestId, answer: StoredAnswer) -> Future[None]:
        """Write the end of a request with all its outputs, once; later calls change nothing."""
        ...

    def record(self, request: StoredRequest, answer: StoredAnswer) -> Future[RequestId]:
        """Write a request and its end in one step; what is there of them already is left alone."""
        ...

    def close(self) -> None:
        """Write what is waiting, mark unfinished requests as interrupted, and let go of the database."""
        ...
