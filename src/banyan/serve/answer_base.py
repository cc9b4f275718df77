"""What every schema of an answer shares."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Answer(BaseModel):
    """What all answers share: every field is named here, and no other comes."""

    model_config = ConfigDict(strict=True, extra="forbid")
