"""What a request did that others may want to know of, written to the audit log before it is answered."""

from __future__ import annotations

import asyncio

from starlette.requests import Request

from banyan.serve.parts import key_id_of, parts_of
from banyan.store.audit import AuditEntry, RecordAudit

NO_KEY = "nobody"  # acts where no key is needed


async def note(request: Request, action: str, *, object_id: str = "", **detail: str | int | bool | None) -> None:
    """Commit an entry; whoever cannot be noted does nothing.

    Raises: StoreError if it could not be committed.
    """
    actor = key_id_of(request) or NO_KEY
    entry = AuditEntry(actor=actor, action=action, object_id=object_id, detail=detail)
    await asyncio.shield(asyncio.wrap_future(parts_of(request).store.submit(RecordAudit(entry=entry))))
