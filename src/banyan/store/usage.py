"""What a key has used: counted from the requests themselves, which keep their counts when their content is erased."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select

from banyan.store.database import Database
from banyan.store.schema import RequestRow


@dataclass(frozen=True, kw_only=True, slots=True)
class Used:
    """Requests, and the tokens of their prompts and answers."""

    requests: int
    tokens: int


def used_since(database: Database, key_id: str, moment: int) -> Used:
    """Return what a key has used since a moment, in UTC microseconds."""
    tokens = func.sum(RequestRow.num_prompt_tokens + RequestRow.num_completion_tokens)
    counted = select(func.count(), tokens).where(RequestRow.api_key_id == key_id, RequestRow.received_at >= moment)
    with database.read() as connection:
        requests, found = connection.execute(counted).one()
    return Used(requests=int(requests), tokens=int(found or 0))
