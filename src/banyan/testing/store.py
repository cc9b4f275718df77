"""A small stored request for tests."""

from __future__ import annotations

from typing import Any

from banyan.store.types import StoredRequest


def tiny_request(**changes: Any) -> StoredRequest:
    """Return a fresh request with its own id; any field can be changed."""
    given: dict[str, Any] = {"endpoint": "/v1/completions", "task": "writing", "task_kind": "language_modeling"}
    return StoredRequest(**(given | {"model_name": "tiny", "body": {"prompt": "say"}} | changes))
