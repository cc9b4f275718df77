"""What a key may use, what is kept of its requests, answers kept for a second asking, and who did what."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_LIMITS = ("requests_per_minute", "tokens_per_minute", "tokens_per_day", "max_concurrent")
_REQUESTS_OF_KEY = "ix_requests_api_key_id_received_at"


def upgrade() -> None:
    """Add the columns and tables; what was stored before was kept whole, and its keys allowed no training."""
    for name in _LIMITS:
        op.add_column("api_keys", sa.Column(name, sa.BigInteger(), nullable=True))
    op.add_column("api_keys", sa.Column("training_ok", sa.Boolean(), server_default=sa.false(), nullable=False))
    for table in ("api_keys", "requests"):
        op.add_column(table, sa.Column("store_mode", sa.String(length=8), server_default="full", nullable=False))
    op.add_column("requests", sa.Column("erased_at", sa.BigInteger(), nullable=True))
    op.create_index(_REQUESTS_OF_KEY, "requests", ["api_key_id", "received_at"])
    _create_idempotent_answers()
    _create_audit_log()


def downgrade() -> None:
    """Take them away again."""
    op.drop_table("audit_log")
    op.drop_table("idempotent_answers")
    op.drop_index(_REQUESTS_OF_KEY, "requests")
    for name in ("erased_at", "store_mode"):
        op.drop_column("requests", name)
    for name in ("store_mode", "training_ok", *_LIMITS):
        op.drop_column("api_keys", name)


def _create_idempotent_answers() -> None:
    op.create_table(
        "idempotent_answers",
        sa.Column("api_key_id", sa.String(length=26), nullable=False),
        sa.Column("idempotency_key", sa.String(length=128), nullable=False),
        sa.Column("request_id", sa.String(length=26), nullable=False),
        sa.Column("body_sha256", sa.String(length=64), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["request_id"], ["requests.id"], name="fk_idempotent_answers_request_id_requests", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("api_key_id", "idempotency_key", name="pk_idempotent_answers"),
    )
    op.create_index("ix_idempotent_answers_request_id", "idempotent_answers", ["request_id"])
    op.create_index("ix_idempotent_answers_created_at", "idempotent_answers", ["created_at"])


def _create_audit_log() -> None:
    op.create_table(
        "audit_log",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("object_id", sa.Text(), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_audit_log"),
    )
