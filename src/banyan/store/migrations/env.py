"""Run by Alembic, never imported: applies the steps over the connection that store/migrate.py hands in."""

from __future__ import annotations

from alembic import context

from banyan.store.run_schema import RunRow
from banyan.store.schema import Base

__all__ = ["RunRow"]  # imported so that the tables of runs are part of the metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
context.run_migrations()
