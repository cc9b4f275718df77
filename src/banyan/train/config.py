"""How long a run is, how much it takes in at a time, and how often it looks."""

from __future__ import annotations

import dataclasses
import math

from banyan.core.config import config
from banyan.core.errors import ConfigError
from banyan.model.products import Products
from banyan.train.average import AverageConfig
from banyan.train.balance_config import BalanceConfig
from banyan.train.compilation import Compile
from banyan.train.health.config import HealthConfig
from banyan.train.precision import Precision
from banyan.train.prefetch import Prefetch


@config
class TrainConfig:
    """How long, how much at a time, and how often to look."""

    budget: str | None = None  # such as 30min or 1e15flops: chooses what the recipe leaves open; null: nothing
    steps: int = 1000
    micro_batch_seqs: int = 16  # rows in one forward pass
    accumulation_steps: int = 1  # forward passes in one step
    seq_len: int = 256  # tokens in a row
    batch_ramp: tuple[float, ...] | None = None  # parts of the batch, one for each equal stretch of the run; null: all
    seq_len_ramp: tuple[int, ...] | None = None  # tokens in a row, likewise, up to seq_len; null: always seq_len
    average: AverageConfig | None = None  # of the weights: what is evaluated, kept and served; null: the weights
    balance: BalanceConfig = dataclasses.field(default_factory=BalanceConfig)  # of the tasks against each other
    conflicts_every: int | None = 200  # steps between two looks at whether tasks' gradients conflict; null: never
    r_drop: float = 0.0  # every row is computed twice; weight of how far the two answers lie apart; 0: computed once
    embedding_noise: float = 0.0  # of the embeddings while learning, NEFTune's alpha (5 to 15 there); 0: none
    clip_norm: float | None = 1.0  # longest gradient; null: not clipped
    evaluate_every: int | None = None  # steps; null: ten times a run
    checkpoint_every: int | None = None  # steps; null: a tenth of the run, at most train.health.max_checkpoint_interval
    keep_checkpoints: int = 2  # the newest regular ones; the best and the last are always kept
    early_stop_patience: int | None = None  # evaluations without a better score; null: never
    background_saves: bool = True  # write checkpoints while training goes on, from a second copy in memory
    log_every: int = 10  # steps
    prefetch: Prefetch = "auto"  # draw the next batch while a step computes; auto: on a GPU
    precision: Precision = "auto"  # of products; auto: bfloat16 on a GPU, on a CPU as auto_precision.py says
    products: Products = "auto"  # float32 on a CPU: PyTorch's own routine or oneDNN's; auto: the faster one, measured
    compile: Compile = "auto"  # auto: if the run is long enough to pay for it; in int8 always
    low_memory: bool = False  # compute each block twice and give freed memory back: slower, for what does not fit else
    update_in_backward: bool = False  # move each weight once its gradient is known, and drop that; clips step by step
    health: HealthConfig = dataclasses.field(default_factory=HealthConfig)

    def __post_init__(self) -> None:
        for name in ("steps", "micro_batch_seqs", "accumulation_steps", "seq_len", "keep_checkpoints", "log_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"train.{name}={getattr(self, name)} must be 1 or more.")
        for name in ("conflicts_every", "evaluate_every", "checkpoint_every", "early_stop_patience", "clip_norm"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ConfigError(f"train.{name}={value} must be above 0, or null.")
        for name in ("r_drop", "embedding_noise"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"train.{name}={getattr(self, name)} must be 0 (off) or more.")

        self._check_ramps()
        if self.update_in_backward and self.r_drop:
            raise ConfigError(
                f"train.r_drop={self.r_drop} looks at the output layer once more in the backward pass, when "
                "train.update_in_backward=true may have moved it.",
                hint="leave one of them out",
            )
        if self.update_in_backward and self.balance.method == "db_mtl":
            raise ConfigError(
                "train.balance.method=db_mtl compares whole gradients, and train.update_in_backward=true "
                "never has one.",
                hint="train.balance.method=famo goes together with train.update_in_backward=true",
            )
        if self.update_in_backward and self.accumulation_steps > 1:
            raise ConfigError(
                f"train.accumulation_steps={self.accumulation_steps} cannot be had with train.update_in_backward=true, "
                "which moves the weights in every backward pass.",
                hint="set train.accumulation_steps=1, and train.micro_batch_seqs as high as memory allows",
            )

    def _check_ramps(self) -> None:
        if self.batch_ramp is not None and not (self.batch_ramp and all(0 < part <= 1 for part in self.batch_ramp)):
            raise ConfigError(
                f"train.batch_ramp={list(self.batch_ramp)} must be parts of the batch, above 0, at most 1."
            )
        lengths = self.seq_len_ramp
        if lengths is not None and not (lengths and all(1 <= length <= self.seq_len for length in lengths)):
            raise ConfigError(
                f"train.seq_len_ramp={list(lengths)} must be row lengths of 1 to train.seq_len={self.seq_len}."
            )

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
        """Steps between two regular checkpoints."""
        return self.checkpoint_every or min(max(1, self.steps // 10), self.health.max_checkpoint_interval)

    def is_regular(self, step: int) -> bool:
        """Whether every run of this length saves at a step, however its scores are and wherever it is interrupted."""
        return step > 0 and (step % self.checkpoint_interval == 0 or step >= self.steps)
