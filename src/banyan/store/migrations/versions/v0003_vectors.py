"""Vectors of stored answers, for the search by meaning."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "output_vectors",
        sa.Column("output_id", sa.String(length=26), nullable=False),
        sa.Column("model_sha256", sa.String(length=64), nullable=False),
        sa.Column("pooling", sa.String(length=16), nullable=False),
        sa.Column("layer", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["output_id"], ["outputs.id"], name="fk_output_vectors_output_id_outputs", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("output_id", "model_sha256", "pooling", "layer", name="pk_output_vectors"),
    )


def downgrade() -> None:
    """Drop the table; the vectors can be made again."""
    op.drop_table("output_vectors")
