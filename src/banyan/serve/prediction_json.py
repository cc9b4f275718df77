"""Predictions as JSON: only the fields that an answer has; a picture goes its own way."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from banyan.core.types import Prediction


def prediction_as_json(prediction: Prediction) -> dict[str, Any]:
    """Return a prediction as JSON values, without its picture."""
    fields: dict[str, Any] = {
        "text": prediction.text,
        "score": prediction.score,
        "labels": prediction.labels,
        "tags": prediction.tags and list(prediction.tags),
        "entities": None if prediction.entities is None else [asdict(entity) for entity in prediction.entities],
        "span": prediction.span and list(prediction.span),
        "finish_reason": str(prediction.finish_reason),
        "num_dropped_tokens": prediction.num_dropped_tokens or None,
    }
    return {name: value for name, value in fields.items() if value is not None}
