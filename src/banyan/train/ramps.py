"""How much a step takes in, where a run begins with smaller batches or shorter rows: pure functions of the step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

from banyan.train.config import TrainConfig

Number = TypeVar("Number", int, float)


@dataclass(frozen=True, kw_only=True, slots=True)
class StepShape:
    """The sizes of one step."""

    num_rows: int
    seq_len: int  # tokens in a row
    accumulation_steps: int  # micro-batches; none holds more tokens than one of a full step
    rate_scale: float  # what a smaller batch leaves of the learning rate


def shape_at(step: int, config: TrainConfig) -> StepShape:
    """Return the sizes of step 1, 2, …

    A ramp divides the run into equal stretches, one for each of its values. Shorter rows are more rows: the tokens of a
    step stay. A part p of the batch learns with sqrt(p) of the rate, as its gradient is that much noisier.
    """
    part = _value_at(step, config.batch_ramp or (1.0,), num_steps=config.steps)
    seq_len = _value_at(step, config.seq_len_ramp or (config.seq_len,), num_steps=config.steps)
    num_rows = max(1, round(part * config.batch_seqs * config.seq_len / seq_len))
    micro_batch_seqs = max(1, config.micro_batch_seqs * config.seq_len // seq_len)
    return StepShape(
        num_rows=num_rows,
        seq_len=seq_len,
        accumulation_steps=math.ceil(num_rows / micro_batch_seqs),
        rate_scale=math.sqrt(part),
    )


def _value_at(step: int, values: tuple[Number, ...], *, num_steps: int) -> Number:
    stretch = (step - 1) * len(values) // num_steps
    return values[min(stretch, len(values) - 1)]


def planned_rows(config: TrainConfig) -> int:
    """Return the rows of a whole run."""
    return sum(shape_at(step, config).num_rows for step in range(1, config.steps + 1))
