"""What a training step costs, from sizes alone: weights, memory by part, and floating-point operations."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from torch import Tensor, nn

from banyan.model.config import ModelConfig
from banyan.train.head_loss import BLOCK_LOGITS
from banyan.train.optimizer import OUTPUT_LAYERS, OptimizerConfig
from banyan.train.step_work import PLAIN, StepWork

_FLOAT_BYTES = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightCounts:
    """How many weights a model has, by what they are."""

    embedding: int  # a tied output layer among them
    matrices: int  # inside the blocks; what Muon moves
    output: int  # layers that answer: an untied word head, task heads
    other: int  # gains and biases

    @property
    def total(self) -> int:
        """All weights; a shared one counts once."""
        return self.embedding + self.matrices + self.output + self.other


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryParts:
    """What the memory of a training process holds when it holds most. Units: bytes."""

    weights: int
    gradients: int
    optimizer: int  # what its rules remember of every weight
    average: int  # the moving average of the weights, where one is kept
    beginning: int  # a copy of the first weights, to go back to
    activations: int  # what the forward pass keeps for the backward pass
    logits: int  # of as many positions that carry loss as are scored at once
    base: int  # the program, its libraries, and the data

    @property
    def total(self) -> int:
        """All of it."""
        return int(sum(dataclasses.astuple(self)))


def count_weights(model: nn.Module, *, only_learning: bool = False) -> WeightCounts:
    """Count the weights of a model by what they are: all of them, or those that are not frozen."""
    embeddings = {id(p) for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
    counts = {"embedding": 0, "matrices": 0, "output": 0, "other": 0}
    for name, weight in model.named_parameters():
        if only_learning and not weight.requires_grad:
            continue
        counts["embedding" if id(weight) in embeddings else _kind(name, weight)] += weight.numel()
    return WeightCounts(**counts)


def _kind(name: str, weight: Tensor) -> str:
    if name.startswith(OUTPUT_LAYERS):
        return "output"
    return "matrices" if weight.ndim == 2 else "other"


def flops_per_token(
    config: ModelConfig, counts: WeightCounts, *, seq_len: int, target_share: float = 1.0, work: StepWork = PLAIN
) -> float:
    """Return the floating-point operations of training on one token, forward and backward.

    Two for every weight of a matrix product and four per key and channel of attention, times three, or as often as
    `work` says; keys behind the query count too, as they do by custom. `target_share` is the share of the tokens that
    go through the output layer.
    Source: Chowdhery et al. 2022 (PaLM), appendix B.
    """
    projections = 2 * counts.matrices
    attention = 4 * config.num_layers * seq_len * config.num_heads * config.head_dim
    output = 2 * config.text_vocab_size * config.embed_dim * target_share
    return work.block_passes * (projections + attention) + work.output_passes * output


def optimizer_bytes(counts: WeightCounts, optimizer: OptimizerConfig) -> int:
    """Return what the optimizer remembers: one number for every weight that Muon moves, two for AdamW's."""
    by_muon = counts.matrices if optimizer.name == "muon" else 0
    return _FLOAT_BYTES * (by_muon + 2 * (counts.total - by_muon))


def activation_floats(config: ModelConfig, *, computes_blocks_twice: bool = False) -> int:
    """Return how many numbers the blocks keep of one token for the backward pass, attention never written out.

    Blocks that are computed twice keep their inputs; all that one of them needs is there while its turn lasts.
    """
    of_block, ends = _floats_of_block(config), 2 * config.embed_dim  # what goes into the final norm, and comes out
    if computes_blocks_twice:
        return (config.num_layers - 1) * config.embed_dim + of_block + ends
    return config.num_layers * of_block + ends


def _floats_of_block(config: ModelConfig) -> int:
    queries, keys = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    is_gained_rms = config.norm == "rms" and config.norm_gain  # the gain is a product of its own
    norms = (6 if is_gained_rms else 4) * config.embed_dim  # what goes into both, (what is gained), what comes out
    is_turned = config.position == "rope" or config.qk_norm != "none"
    attention = queries + 2 * keys + (is_turned + (config.qk_norm == "gain")) * (queries + keys) + queries
    bends = 4 if config.activation == "swiglu" else 2  # gate, value, bent gate, product; or wide and bent
    return norms + attention + bends * config.ffn_dim


def gradient_numbers(config: ModelConfig, learning: WeightCounts, work: StepWork = PLAIN) -> int:
    """Return how many numbers the gradients are that a step holds together with the activations.

    Where weights move in the backward pass, those are the output layer's, which comes first (a tied table's waits for
    its embedding), and those of the largest matrix.
    """
    if not work.moves_in_backward:
        return work.num_gradients * learning.total
    table = learning.embedding if config.tie_embeddings else learning.output
    widest = max(config.ffn_dim * (1 + (config.activation == "swiglu")), config.num_heads * config.head_dim)
    return min(learning.total, table + widest * config.embed_dim)


def memory_parts(
    config: ModelConfig,
    counts: WeightCounts,
    *,
    optimizer: OptimizerConfig,
    num_tokens: int,
    num_targets: int,
    has_average: bool = False,
    has_beginning: bool = False,
    base_bytes: int = 0,
    number_bytes: int = _FLOAT_BYTES,
    learning: WeightCounts | None = None,
    work: StepWork = PLAIN,
) -> MemoryParts:
    """Return what a step holds at its peak, for a micro-batch of so many tokens and targets.

    `number_bytes` is the size of one number of an activation. Weights and what moves them stay in float32. `learning`
    counts those that are not frozen; None: all of them. `work` is what the recipe's keys make of a step. Logits are
    those of one block of the output layer, which never makes all of them.
    """
    learning = learning or counts
    weights, learned = counts.total * _FLOAT_BYTES, learning.total * _FLOAT_BYTES
    floats = activation_floats(config, computes_blocks_twice=work.computes_blocks_twice)
    num_scored = min(work.row_copies * num_targets, max(1, BLOCK_LOGITS // config.text_vocab_size))
    average = learned if has_average else 0
    return MemoryParts(
        weights=weights,
        gradients=gradient_numbers(config, learning, work) * _FLOAT_BYTES,
        optimizer=optimizer_bytes(learning, optimizer),
        average=average,
        beginning=weights + average if has_beginning else 0,
        activations=work.row_copies * num_tokens * floats * number_bytes,
        logits=num_scored * config.text_vocab_size * _FLOAT_BYTES * work.logit_copies,
        base=base_bytes,
    )
