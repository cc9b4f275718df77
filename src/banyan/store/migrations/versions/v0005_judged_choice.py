"""Which of several answers a person judged."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the column; of what was said before, nobody said which answer it was about."""
    op.add_column("feedback", sa.Column("choice_index", sa.Integer(), nullable=True))


def downgrade() -> None:
    """Take it away again."""
    op.drop_column("feedback", "choice_index")
