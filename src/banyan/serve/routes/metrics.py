"""GET /metrics: the figures of the server, for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from banyan.serve.auth import require_scope
from banyan.serve.metrics import MEDIA_TYPE
from banyan.serve.parts import parts_of

router = APIRouter()


@router.get("/metrics", summary="Figures for Prometheus")
async def metrics(request: Request) -> Response:
    """Give counts and times; they hold no text of any user."""
    require_scope(request, "metrics")
    parts = parts_of(request)
    whole = [model for model in parts.models if model.facts.parent is None]
    gauges = {
        "requests_running": parts.admission.num_inside,
        "prompts_waiting": sum(model.num_waiting for model in whole),
        "store_writes_waiting": parts.store.num_waiting,
        "store_refused_rows": parts.store.num_refused,
        "store_available": int(parts.store.is_available),
    }
    counts = [model.num_guessed for model in whole]
    parts.metrics.set_guessed(guessed=sum(guessed for guessed, _ in counts), right=sum(right for _, right in counts))
    return Response(parts.metrics.render(**gauges), media_type=MEDIA_TYPE)
