"""How a model's blocks run while it learns: as written, as generated machine code, or with parts done twice."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from banyan.core.paths import cache_directory
from banyan.train.compiled_code import remove_broken_libraries
from banyan.train.losses import TaskLosses
from banyan.train.step import LossFunction

Compile: TypeAlias = Literal["auto"] | bool  # YAML reads on and off as true and false

MIN_RUN_FLOPS = 2e13  # two minutes of two cores: a shorter run ends before compiled code has paid for its compilation
# Wider, a block's float32 products take so much of its time that little is left to gain: GPT-2 of 124M weights, 768
# wide, made 0.95 and 1.01 times its eager tokens on two cores, and held 190 MiB more. 384 wide, it was 1.06.
MAX_WIDTH_ON_CPU = 640
MAX_VARIANTS = 64  # of one block: with and without a mask, other numbers of rows, every layer's own dropout


def is_worth_compiling(choice: Compile, *, run_flops: float, float32_width: int = 0, is_int8: bool = False) -> bool:
    """Return whether to compile: as a recipe says, or if the run is long enough; the same for its resumption.

    `float32_width` is that of a model whose products are made in float32 on a CPU, else 0. In int8 every run is
    compiled, for without it nothing is gained.
    """
    if choice != "auto":
        return choice
    return is_int8 or (run_flops >= MIN_RUN_FLOPS and float32_width <= MAX_WIDTH_ON_CPU)


def with_blocks(
    loss_function: LossFunction,
    *,
    model: nn.Module,
    is_compiled: bool = False,
    is_lean: bool = False,
    is_sparing: bool = False,
) -> LossFunction:
    """Return the loss function with the model's blocks run in another way while it is computed, and only then.

    Compiled, all blocks of one kind share their code, so that a deep model compiles as fast as a shallow one; positions
    that carry loss are gathered outside, so that their number may change from batch to batch. Lean, a block keeps its
    input alone and is computed a second time in the backward pass. Sparing, it makes again what is cheap to make, its
    norms and bends, and keeps the rest; that is for blocks run as they are written.
    """
    blocks = getattr(model, "blocks", None)
    if not isinstance(blocks, nn.ModuleList) or not (is_compiled or is_lean or is_sparing):
        return loss_function
    if not (is_compiled or is_lean):
        return _with_blocks_sparing(loss_function, blocks)
    forwards: dict[nn.Module, Callable[..., Any]] = {block: block.forward for block in blocks}
    if is_compiled:
        torch._dynamo.config.recompile_limit = max(MAX_VARIANTS, torch._dynamo.config.recompile_limit)
        forwards = {block: torch.compile(forward, dynamic=False) for block, forward in forwards.items()}
    if is_lean:
        forwards = {block: partial(checkpoint, forward, use_reentrant=False) for block, forward in forwards.items()}

    def computed(model: Any, batch: Any) -> TaskLosses:
        with _replaced_forwards(forwards):
            return loss_function(model, batch)

    return computed


def _with_blocks_sparing(loss_function: LossFunction, blocks: nn.ModuleList) -> LossFunction:
    parts = [module for module in blocks.modules() if hasattr(module, "makes_again")]

    def computed(model: Any, batch: Any) -> TaskLosses:
        for part in parts:
            part.makes_again = True  # type: ignore[assignment]
        try:
            return loss_function(model, batch)
        finally:
            for part in parts:
                del part.makes_again

    return computed


@contextmanager
def _replaced_forwards(forwards: dict[nn.Module, Callable[..., Any]]) -> Iterator[None]:
    for module, forward in forwards.items():
        module.forward = forward
    try:
        yield
    finally:
        for module in forwards:
            del module.forward


@cache
def compiler_problem() -> str | None:
    """Return why nothing can be compiled here, or None; the first call compiles a line to find out.

    Compiled code is kept in the user's cache folder, so that the next start finds it.
    """
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_directory() / "compiled"))
    try:
        kept = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"])
        kept.mkdir(parents=True, exist_ok=True)
        remove_broken_libraries(kept)
        torch.compile(_two_operations, dynamic=False)(torch.ones(64))
    except Exception as error:  # whatever a missing or broken tool chain raises
        return first_line(error)
    return None


def first_line(error: Exception) -> str:
    """Return the first line of what an error says, or its name where it says nothing."""
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__


def _two_operations(x: torch.Tensor) -> torch.Tensor:
    return x * 2 + 1
