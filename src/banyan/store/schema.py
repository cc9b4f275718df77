"""The tables of requests, answers and those who ask.

Times are UTC microseconds, identifiers 26-character ULIDs, texts and bodies compressed bytes (see codec.py).
Contents lie apart from the request's facts, so that they can be deleted sooner.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from banyan.store.types import OPEN_STATES, RequestState

NAMING = {  # every constraint has a name, so that a later migration can find it
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
ULID = String(26)
SHA256 = String(64)
_STATES = ", ".join(f"'{state}'" for state in RequestState)
_OPEN = f"state IN ({', '.join(repr(str(state)) for state in OPEN_STATES)})"


class Base(DeclarativeBase):
    """What all tables share: names of constraints and the types of Python values."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {int: BigInteger, dict[str, Any]: JSON, list[Any]: JSON, bytes: LargeBinary, str: Text}


class ModelRow(Base):
    """A model that has answered or been scored, told apart by the hash of its manifest."""

    __tablename__ = "models"
    __table_args__ = (UniqueConstraint("name", "sha256"),)

    id: Mapped[str] = mapped_column(SHA256, primary_key=True)  # a hash of name and sha256
    name: Mapped[str]
    sha256: Mapped[str]
    tasks: Mapped[list[Any] | None]
    num_parameters: Mapped[int | None]
    max_seq_len: Mapped[int | None]
    created_at: Mapped[int]


class ServerInstanceRow(Base):
    """A process that wrote requests."""

    __tablename__ = "server_instances"

    id: Mapped[str] = mapped_column(ULID, primary_key=True)
    host: Mapped[str]
    pid: Mapped[int]
    process_started_at: Mapped[int]  # tells a process from a later one with the same number
    version: Mapped[str]
    started_at: Mapped[int] = mapped_column(index=True)
    ended_at: Mapped[int | None]
    end_reason: Mapped[str | None]  # closed, died


class ApiKeyRow(Base):
    """A key of the server; only its hash is kept."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(ULID, primary_key=True)
    name: Mapped[str]
    prefix: Mapped[str] = mapped_column(String(8))
    key_sha256: Mapped[str] = mapped_column(SHA256, unique=True)
    scopes: Mapped[list[Any]]
    created_at: Mapped[int]
    expires_at: Mapped[int | None]
    revoked_at: Mapped[int | None]
    last_used_at: Mapped[int | None]
    requests_per_minute: Mapped[int | None]
    tokens_per_minute: Mapped[int | None]
    tokens_per_day: Mapped[int | None]
    max_concurrent: Mapped[int | None]
    store_mode: Mapped[str] = mapped_column(String(8), server_default="full")
    training_ok: Mapped[bool] = mapped_column(server_default=false())


class RequestRow(Base):
    """The facts of one request, without its content."""

    __tablename__ = "requests"
    __table_args__ = (
        CheckConstraint(f"state IN ({_STATES})", name="state"),
        CheckConstraint("num_choices >= 1", name="num_choices"),
        CheckConstraint(
            "num_prompt_tokens >= 0 AND num_completion_tokens >= 0 AND num_cached_tokens >= 0", name="token_counts"
        ),
        Index("ix_requests_received_at_id", "received_at", "id"),
        Index("ix_requests_task_received_at", "task", "received_at"),
        Index("ix_requests_model_id_received_at", "model_id", "received_at"),
        Index("ix_requests_api_key_id_received_at", "api_key_id", "received_at"),
        Index("ix_requests_open", "server_instance_id", sqlite_where=text(_OPEN), postgresql_where=text(_OPEN)),
    )

    id: Mapped[str] = mapped_column(ULID, primary_key=True)
    server_instance_id: Mapped[str] = mapped_column(ForeignKey("server_instances.id"))
    model_id: Mapped[str] = mapped_column(ForeignKey("models.id"))
    api_key_id: Mapped[str | None] = mapped_column(ForeignKey("api_keys.id"))
    endpoint: Mapped[str]
    task: Mapped[str]
    task_kind: Mapped[str]
    client_request_id: Mapped[str | None] = mapped_column(index=True)
    session_id: Mapped[str | None] = mapped_column(index=True)
    stream: Mapped[bool]
    params: Mapped[dict[str, Any]]
    seed: Mapped[int | None]
    num_choices: Mapped[int] = mapped_column(Integer)
    state: Mapped[str] = mapped_column(String(16))
    http_status: Mapped[int | None] = mapped_column(Integer)
    error_code: Mapped[str | None]
    num_prompt_tokens: Mapped[int]
    num_completion_tokens: Mapped[int]
    num_cached_tokens: Mapped[int]
    prompt_sha256: Mapped[str]
    received_at: Mapped[int]
    admitted_at: Mapped[int | None]
    first_token_at: Mapped[int | None]
    finished_at: Mapped[int | None]
    store_mode: Mapped[str] = mapped_column(String(8), server_default="full")
    erased_at: Mapped[int | None]  # when its content was deleted; only facts and counts are left since


class RequestContentRow(Base):
    """What was asked, as compressed canonical JSON."""

    __tablename__ = "request_contents"

    request_id: Mapped[str] = mapped_column(ForeignKey("requests.id", ondelete="CASCADE"), primary_key=True)
    body: Mapped[bytes]
    source: Mapped[bytes | None]  # the input fields of a row of the task; a list of such where there are several


class OutputRow(Base):
    """One choice of an answer; `partial` while it is still growing or was cut off."""

    __tablename__ = "outputs"
    __table_args__ = (UniqueConstraint("request_id", "choice_index"),)

    id: Mapped[str] = mapped_column(ULID, primary_key=True)
    request_id: Mapped[str] = mapped_column(ForeignKey("requests.id", ondelete="CASCADE"))
    choice_index: Mapped[int] = mapped_column(Integer)
    content: Mapped[bytes]
    text_sha256: Mapped[str] = mapped_column(SHA256)
    token_ids: Mapped[bytes | None]  # little-endian int32
    finish_reason: Mapped[str | None]
    prediction: Mapped[bytes | None]  # compressed JSON
    partial: Mapped[bool]
    created_at: Mapped[int]


class OutputVectorRow(Base):
    """What a model makes of an output's text, kept so that a search by meaning reads every answer once."""

    __tablename__ = "output_vectors"

    output_id: Mapped[str] = mapped_column(ForeignKey("outputs.id", ondelete="CASCADE"), primary_key=True)
    model_sha256: Mapped[str] = mapped_column(SHA256, primary_key=True)  # of the manifest of the model that read it
    pooling: Mapped[str] = mapped_column(String(16), primary_key=True)
    layer: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)  # blocks below it
    data: Mapped[bytes]  # little-endian float32, of length 1
    created_at: Mapped[int]


class ArtifactRow(Base):
    """A picture or other file, kept once however often it is answered."""

    __tablename__ = "artifacts"
    __table_args__ = (CheckConstraint("size_bytes >= 0", name="size_bytes"),)

    sha256: Mapped[str] = mapped_column(SHA256, primary_key=True)
    media_type: Mapped[str]
    size_bytes: Mapped[int]
    width: Mapped[int | None] = mapped_column(Integer)
    height: Mapped[int | None] = mapped_column(Integer)
    data: Mapped[bytes]
    created_at: Mapped[int]


class OutputArtifactRow(Base):
    """Which artifacts belong to an output, in order."""

    __tablename__ = "output_artifacts"

    output_id: Mapped[str] = mapped_column(ForeignKey("outputs.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(Integer, primary_key=True)
    sha256: Mapped[str] = mapped_column(ForeignKey("artifacts.sha256"), index=True)


class FeedbackRow(Base):
    """A person's word on an answer."""

    __tablename__ = "feedback"

    id: Mapped[str] = mapped_column(ULID, primary_key=True)
    request_id: Mapped[str] = mapped_column(ForeignKey("requests.id", ondelete="CASCADE"), index=True)
    api_key_id: Mapped[str | None] = mapped_column(ForeignKey("api_keys.id"))
    rating: Mapped[int | None] = mapped_column(Integer)
    comment: Mapped[bytes | None]  # compressed text, as the correction
    correction: Mapped[bytes | None]
    at: Mapped[int]
    choice_index: Mapped[int | None] = mapped_column(Integer)  # of the answer that is meant; NULL: nobody said


class IdempotentAnswerRow(Base):
    """An answer as it was sent, for a client that asks the same again under the same Idempotency-Key."""

    __tablename__ = "idempotent_answers"

    api_key_id: Mapped[str] = mapped_column(ULID, primary_key=True)  # empty where no key is needed
    idempotency_key: Mapped[str] = mapped_column(String(128), primary_key=True)
    request_id: Mapped[str] = mapped_column(ForeignKey("requests.id", ondelete="CASCADE"), index=True)
    body_sha256: Mapped[str] = mapped_column(SHA256)  # of path and body
    media_type: Mapped[str]
    content: Mapped[bytes]  # compressed
    created_at: Mapped[int] = mapped_column(index=True)


class AuditRow(Base):
    """Who changed keys, models or what is stored, or read what others were answered; each row vouches for the last."""

    __tablename__ = "audit_log"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[int]
    actor: Mapped[str]  # the id of a key, or the user of this machine
    action: Mapped[str]
    object_id: Mapped[str]
    detail: Mapped[dict[str, Any]]
    sha256: Mapped[str] = mapped_column(SHA256)  # of this row and the hash of the one before


class DeadLetterRow(Base):
    """A write that the database refused, kept whole (as ASCII JSON) with the reason."""

    __tablename__ = "dead_letters"

    id: Mapped[str] = mapped_column(ULID, primary_key=True)
    at: Mapped[int] = mapped_column(index=True)
    source: Mapped[str]  # which operation
    payload: Mapped[str]
    error: Mapped[str]


# Columns that carry the same name and value in StoredRequest and StoredAnswer.
REQUEST_COLUMNS = (
    *("endpoint", "task", "task_kind", "params", "seed", "num_choices", "stream", "prompt_sha256"),
    *("num_prompt_tokens", "client_request_id", "session_id", "api_key_id", "received_at", "store_mode"),
)
ANSWER_COLUMNS = (
    *("http_status", "error_code", "num_completion_tokens", "num_cached_tokens"),
    *("admitted_at", "first_token_at", "finished_at"),
)
