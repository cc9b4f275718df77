"""In which number format a run learns on a CPU if its recipe leaves that open: int8 where it pays, float32 elsewhere.

int8 pays in compiled code alone, in wide models, and where a processor has instructions for it, which a short probe
finds out. bfloat16 is never chosen: PyTorch's attention has a slow backward pass in it, and int8 is faster. A run that
begins with learned weights stays in float32: what int8 costs in loss was measured from fresh weights, and fine-tuning
ends on differences so small that coarse products may lose them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

import torch
from torch import Tensor

from banyan.model.products import Products, product_named, seconds_of
from banyan.model.transformer import Transformer
from banyan.train.compilation import MIN_RUN_FLOPS, compiler_problem
from banyan.train.config import TrainConfig
from banyan.train.configured_loss import has_one_size, run_flops
from banyan.train.precision import Precision

# Whole compiled steps in int8 were 1.2 times as fast as in float32 at a width of 128, 1.6 at 384, 1.5 at 768; nothing
# between was measured (the shapes tiny, small and 124M on two cores of an AMD EPYC; docs/performance.md).
MIN_INT8_WIDTH = 256
MIN_GAIN = 1.5  # of the products alone; 1.7 to 5 was seen, so that probes of one machine agree
MIN_MINUTES = 2.0  # about what `MIN_RUN_FLOPS` take on two cores
_PROBE_OPERATIONS, _PROBE_ROUNDS = 2e8, 9  # a millisecond or two: a longer product is rarely left in peace
_FEWEST_ROWS, _WIDEST = 64, 2048  # of the product that is timed, and a side of its matrix
_EMULATED_SECONDS = 0.05  # a processor with instructions for int8 takes a few ms for a quarter of the fewest rows


@dataclass(frozen=True, kw_only=True, slots=True)
class PrecisionChoice:
    """A number format, and why this one."""

    precision: Precision
    reason: str  # in words that go on after "products in int8: "


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbedProduct:
    """A product of many rows with a matrix, and the routine that makes it in float32."""

    num_rows: int
    num_inputs: int
    num_outputs: int
    products: Products


SpeedUp: TypeAlias = Callable[[ProbedProduct], float]


@cache
def int8_speed_up(probed: ProbedProduct) -> float:
    """Return how many times as fast as in float32 this CPU makes a product in int8, measured once per process.

    It takes less than 0.2 s, for a large product is cut. 0: int8 is only emulated, and is not waited for.
    """
    product, (num_rows, num_inputs, num_outputs) = product_named(probed.products), _cut(probed)
    x, weight = torch.ones(num_rows, num_inputs), torch.ones(num_outputs, num_inputs)
    x_int8, weight_int8 = x.to(torch.int8), weight.to(torch.int8).t()
    if seconds_of(lambda: torch._int_mm(x_int8[: _FEWEST_ROWS // 4], weight_int8)) > _EMULATED_SECONDS:
        return 0.0

    def in_float32() -> Tensor:
        return product(x, weight, None)

    def in_int8() -> Tensor:
        return torch._int_mm(x_int8, weight_int8)

    rounds = [(seconds_of(in_float32), seconds_of(in_int8)) for _ in range(_PROBE_ROUNDS)]  # a neighbour slows both
    return min(seconds for seconds, _ in rounds) / min(seconds for _, seconds in rounds)


def _cut(probed: ProbedProduct) -> tuple[int, int, int]:
    """Return rows, inputs and outputs of a product that is quickly made."""
    num_inputs, num_outputs = min(probed.num_inputs, _WIDEST), min(probed.num_outputs, _WIDEST)
    most_rows = max(_FEWEST_ROWS, int(_PROBE_OPERATIONS / (2 * num_inputs * num_outputs)))
    return min(probed.num_rows, most_rows), num_inputs, num_outputs


def choose_on_cpu(
    model: Transformer,
    config: TrainConfig,
    *,
    is_fresh: bool,
    minutes: float | None = None,
    world_size: int = 1,
    speed_up: SpeedUp = int8_speed_up,
    find_problem: Callable[[], str | None] = compiler_problem,
) -> PrecisionChoice:
    """Return the number format of a run's products: int8, or float32 where something speaks against int8.

    `is_fresh`: the run begins with weights that have learned nothing. `minutes` is how long it will take, where its
    steps are not counted yet.
    """
    if against := _against_int8(model, config, is_fresh=is_fresh, minutes=minutes, world_size=world_size):
        return PrecisionChoice(precision="float32", reason=against)
    if (gain := speed_up(_widest_product(model, config))) < MIN_GAIN:
        return PrecisionChoice(
            precision="float32", reason=f"int8 is {gain:.1f} times as fast here, and it takes {MIN_GAIN} to gain"
        )
    if problem := find_problem():
        return PrecisionChoice(precision="float32", reason=f"int8 has to be compiled, which fails here: {problem}")
    return PrecisionChoice(precision="int8", reason=f"{gain:.1f} times as fast as float32 here")


def _widest_product(model: Transformer, config: TrainConfig) -> ProbedProduct:
    return ProbedProduct(
        num_rows=config.micro_batch_seqs * config.seq_len,
        num_inputs=model.config.embed_dim,
        num_outputs=model.config.ffn_dim,
        products=config.products,
    )


def _against_int8(
    model: Transformer, config: TrainConfig, *, is_fresh: bool, minutes: float | None, world_size: int
) -> str | None:
    """Return what speaks against int8 before anything is measured, or None."""
    is_long = run_flops(model, config) >= MIN_RUN_FLOPS if minutes is None else minutes >= MIN_MINUTES
    if not is_fresh:
        return "the run begins with weights that have learned before"
    if model.config.embed_dim < MIN_INT8_WIDTH:
        return f"the model is {model.config.embed_dim} wide, and int8 gains from {MIN_INT8_WIDTH} on"
    if not has_one_size(config, world_size=world_size):
        return "int8 has to be compiled, and several processes or train.balance.method=db_mtl rule that out"
    if config.compile is False:
        return "int8 has to be compiled, and train.compile=false"
    if config.compile == "auto" and not is_long:
        return "int8 has to be compiled, and the run is too short for that"
    return None
