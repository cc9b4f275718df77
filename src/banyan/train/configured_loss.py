"""The loss function of a run as its recipe asks for it: in a precision, compiled or not, fast or with little memory."""

from __future__ import annotations

import logging

from torch import nn

from banyan.model.transformer import Transformer
from banyan.train.attention_kernel import attends_blockwise, with_blockwise_attention
from banyan.train.compilation import compiler_problem, is_worth_compiling, with_blocks
from banyan.train.config import TrainConfig
from banyan.train.precision import in_precision
from banyan.train.step import LossFunction
from banyan.train.tied_table import with_head_apart

LOG = logging.getLogger(__name__)
MIN_WIDEST = 1 << 21  # numbers of the widest activation, 8 MiB; below, there is little to spare


def configured_loss(
    loss_function: LossFunction, *, model: nn.Module, config: TrainConfig, world_size: int = 1
) -> LossFunction:
    """Return the loss function that computes as a run's keys say: `precision`, `compile` and `low_memory`.

    A run of several processes is not compiled: what divides a model among them looks into its blocks; nor one with a
    pass for each group of tasks, for their batches differ in size. A compiler that
    is missing or broken is named in one line of the log, and the run goes on without.
    Raises: ConfigError for a precision that this machine does not have.
    """
    computed = in_precision(loss_function, model=model, precision=config.precision, products=config.products)
    is_compiled = has_one_size(config, world_size=world_size) and is_worth_compiling(
        config.compile,
        run_flops=run_flops(model, config),
        float32_width=_float32_width(model, config),
        is_int8=config.precision == "int8",
    )
    if is_compiled and (problem := compiler_problem()):
        LOG.warning("compile=false reason=%r", problem)
        is_compiled = False
    if is_compiled and attends_blockwise(model, config):
        computed = with_blockwise_attention(computed)
    if world_size == 1 and not config.update_in_backward:  # which does it in its own way
        computed = with_head_apart(computed, model=model)
    is_sparing = world_size == 1 and _widest_activation(model, config) >= MIN_WIDEST
    return with_blocks(computed, model=model, is_compiled=is_compiled, is_lean=config.low_memory, is_sparing=is_sparing)


def has_one_size(config: TrainConfig, *, world_size: int) -> bool:
    """Return whether a run's blocks meet batches of one size, in one process: others are not compiled."""
    return world_size == 1 and config.balance.method != "db_mtl"


def _float32_width(model: nn.Module, config: TrainConfig) -> int:
    """Return how wide a model is whose products are made in float32 on a CPU; 0 for any other."""
    if not isinstance(model, Transformer) or model.device.type != "cpu" or config.precision not in ("auto", "float32"):
        return 0
    return model.config.embed_dim


def _widest_activation(model: nn.Module, config: TrainConfig) -> int:
    """Return how many numbers it holds; 0 where sparing it has not been measured, off the CPU."""
    if not isinstance(model, Transformer) or model.device.type != "cpu":
        return 0
    return config.micro_batch_seqs * config.seq_len * model.config.ffn_dim


def run_flops(model: nn.Module, config: TrainConfig) -> float:
    """Return the arithmetic of a whole run, roughly: six operations for each weight and position."""
    num_weights = sum(parameter.numel() for parameter in model.parameters())
    return 6.0 * num_weights * config.steps * config.batch_seqs * config.seq_len
