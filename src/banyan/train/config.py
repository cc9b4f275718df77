"""How long a run is, how much it takes in at a time, and how often it looks."""

from __future__ import annotations

import dataclasses

from banyan.core.config import config
from banyan.core.errors import ConfigError
from banyan.train.health.config import HealthConfig
from banyan.train.precision import Precision


@config
class TrainConfig:
    """How long, how much at a time, and how often to look."""

    steps: int = 1000
    micro_batch_seqs: int = 16  # rows in one forward pass
    accumulation_steps: int = 1  # forward passes in one step
    seq_len: int = 256  # tokens in a row
    clip_norm: float | None = 1.0  # longest gradient; null: not clipped
    evaluate_every: int | None = None  # steps; null: ten times a run
    checkpoint_every: int | None = None  # steps; null: ten times a run
    keep_checkpoints: int = 2  # the newest; the best one is always kept
    early_stop_patience: int | None = None  # evaluations without a better score; null: never
    background_saves: bool = True  # write checkpoints while training goes on, from a second copy in memory
    log_every: int = 10  # steps
    precision: Precision = "auto"
    health: HealthConfig = dataclasses.field(default_factory=HealthConfig)

    def __post_init__(self) -> None:
        for name in ("steps", "micro_batch_seqs", "accumulation_steps", "seq_len", "keep_checkpoints", "log_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"train.{name}={getattr(self, name)} must be 1 or more.")
        for name in ("evaluate_every", "checkpoint_every", "early_stop_patience", "clip_norm"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ConfigError(f"train.{name}={value} must be above 0, or null.")

    @property
    def batch_seqs(self) -> int:
        """Rows in one step."""
        return self.micro_batch_seqs * self.accumulation_steps

    @property
    def evaluation_interval(self) -> int:
        """Steps between two evaluations."""
        return self.evaluate_every or max(1, self.steps // 10)

    @property
    def checkpoint_interval(self) -> int:
        """Steps between two checkpoints."""
        return self.checkpoint_every or max(1, self.steps // 10)
