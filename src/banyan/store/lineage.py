"""Where a training row came from: the request, its model, and what a person changed about the answer."""

from __future__ import annotations

from typing import Any

from banyan.store.dataset_export import feedback_on
from banyan.store.times import iso_time
from banyan.store.types import StoredExchange


def lineage_of(exchange: StoredExchange, *, choice_index: int, line: int) -> dict[str, Any]:
    """Return the origin of the row on a line (counted from 1) of an exported data set."""
    request, said = exchange.request, feedback_on(exchange, choice_index)
    ratings = [given.rating for given in said if given.rating is not None]
    corrected = [given for given in said if given.correction is not None]
    return {
        "line": line,
        "request_id": request.request_id,
        "index": choice_index,
        "received_at": iso_time(request.received_at),
        "task": request.task,
        "model": request.model_name,
        "model_sha256": request.model_sha256,
        "prompt_sha256": request.prompt_sha256,
        "seed": request.seed,
        "api_key_id": request.api_key_id,
        "store_mode": request.store_mode,
        "rating": ratings[-1] if ratings else None,
        "corrected_by": corrected[-1].feedback_id if corrected else None,
    }
