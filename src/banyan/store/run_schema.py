"""The tables of training runs: events, metrics, checkpoints and evaluations."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from banyan.store.schema import SHA256, ULID, Base


class RunRow(Base):
    """One run of a recipe."""

    __tablename__ = "runs"

    id: Mapped[str] = mapped_column(ULID, primary_key=True)
    name: Mapped[str] = mapped_column(index=True)
    kind: Mapped[str]
    config: Mapped[dict[str, Any]]
    config_sha256: Mapped[str] = mapped_column(SHA256)
    code_version: Mapped[str]
    dataset_fingerprint: Mapped[str]
    directory: Mapped[str]
    seed: Mapped[int | None]
    world_size: Mapped[int] = mapped_column(Integer)
    state: Mapped[str]  # running, completed, failed, interrupted
    exit_code: Mapped[int | None] = mapped_column(Integer)
    started_at: Mapped[int] = mapped_column(index=True)
    ended_at: Mapped[int | None]
    parent_run_id: Mapped[str | None] = mapped_column(ForeignKey("runs.id"))


class RunMetricRow(Base):
    """One number of one step."""

    __tablename__ = "run_metrics"

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    value: Mapped[float]
    at: Mapped[int]


class RunEventRow(Base):
    """Something that happened in a run: resume, skipped step, signal, …"""

    __tablename__ = "run_events"
    __table_args__ = (Index("ix_run_events_run_id_at", "run_id", "at"),)

    id: Mapped[str] = mapped_column(ULID, primary_key=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"))
    step: Mapped[int | None]
    kind: Mapped[str]
    detail: Mapped[dict[str, Any]]
    at: Mapped[int]


class CheckpointRow(Base):
    """One saved state of a run."""

    __tablename__ = "checkpoints"
    __table_args__ = (
        UniqueConstraint("run_id", "step"),
        CheckConstraint("state IN ('valid', 'corrupt', 'purged')", name="state"),
    )

    id: Mapped[str] = mapped_column(ULID, primary_key=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"))
    step: Mapped[int]
    path: Mapped[str]
    size_bytes: Mapped[int]
    manifest_sha256: Mapped[str]
    state: Mapped[str]
    created_at: Mapped[int]


class EvaluationRow(Base):
    """One metric of one model on one data set, with its interval."""

    __tablename__ = "evaluations"
    __table_args__ = (Index("ix_evaluations_model_id_dataset_metric_at", "model_id", "dataset", "metric", "at"),)

    id: Mapped[str] = mapped_column(ULID, primary_key=True)
    model_id: Mapped[str] = mapped_column(ForeignKey("models.id"))
    run_id: Mapped[str | None] = mapped_column(ForeignKey("runs.id"))
    task: Mapped[str]
    dataset: Mapped[str]
    split: Mapped[str]
    metric: Mapped[str]
    value: Mapped[float]
    ci_low: Mapped[float | None]
    ci_high: Mapped[float | None]
    num_examples: Mapped[int]
    config: Mapped[dict[str, Any]]
    seed: Mapped[int | None]
    code_version: Mapped[str]
    at: Mapped[int]
