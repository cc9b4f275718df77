"""What can be tried before a long run: learn one batch by heart, reach every weight, keep later tokens unseen."""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
from torch import nn

from banyan.core.types import MaskKind, TokenSequence
from banyan.data.batch import Batch, collate
from banyan.model.transformer import Transformer
from banyan.train.balance import TaskBalance
from banyan.train.optimizer import ModelOptimizer, OptimizerConfig, build_optimizer
from banyan.train.step import LossFunction, train_step

BY_HEART_NATS = 0.05  # per target
BY_HEART_STEPS = 200
_FIRST_STEPS = 3  # some weights begin at zero, and those behind them have no gradient until they have moved
_SAME = 1e-4  # of a hidden state's size, for the order of sums may differ


@dataclass(frozen=True, kw_only=True, slots=True)
class LearnedByHeart:
    """How far a model came with one batch."""

    task_losses: tuple[float, ...]  # nats per target, at the end; NaN for a task that is not there
    num_steps: int
    bad_gradients: tuple[str, ...]  # weights whose gradient is missing, zero or no number


def learn_by_heart(
    model: Transformer,
    batch: Batch,
    *,
    loss_function: LossFunction,
    balance: TaskBalance,
    optimizer: OptimizerConfig,
    max_steps: int = BY_HEART_STEPS,
) -> LearnedByHeart:
    """Train a copy of the model on one batch until every task in it is known by heart, or the steps are used up."""
    trial = copy.deepcopy(model).train()
    _without_dropout(trial)
    moved = build_optimizer(trial, optimizer)
    bad: tuple[str, ...] = ()
    losses: tuple[float, ...] = ()
    with torch.random.fork_rng(devices=[trial.device] if trial.device.type == "cuda" else []):
        for step in range(1, max_steps + 1):
            losses = _learn_once(trial, batch, step, moved, loss_function=loss_function, balance=balance)
            bad = bad_gradients(trial) if step == _FIRST_STEPS else bad
            if step >= _FIRST_STEPS and all(loss < BY_HEART_NATS for loss in losses if not math.isnan(loss)):
                break
    return LearnedByHeart(task_losses=losses, num_steps=step, bad_gradients=bad)


def _learn_once(
    model: Transformer,
    batch: Batch,
    step: int,
    optimizer: ModelOptimizer,
    *,
    loss_function: LossFunction,
    balance: TaskBalance,
) -> tuple[float, ...]:
    # The last steps are small: a rate that suits a long run circles around the answer.
    fraction = (step - 1) / BY_HEART_STEPS
    optimizer.prepare_step(step, rate_factor=min(1.0, 2 * (1 - fraction) + 0.02))
    return train_step(model, batch, optimizer=optimizer, loss_function=loss_function, balance=balance).task_losses


def _without_dropout(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(getattr(module, "dropout", None), float):
            module.dropout = 0.0  # type: ignore[assignment]


def bad_gradients(model: nn.Module) -> tuple[str, ...]:
    """Return the weights that the last backward pass did not reach, or not with numbers."""
    bad = []
    for name, parameter in model.named_parameters():
        gradient = parameter.grad
        if parameter.requires_grad and (gradient is None or not gradient.any() or not gradient.isfinite().all()):
            bad.append(name)
    return tuple(bad)


def first_leak(model: Transformer, sequences: Sequence[TokenSequence], *, seq_len: int, pad_id: int) -> str | None:
    """Change a token in each sequence and say which position saw it that should not have; None if none did.

    Each sequence is laid beside another one in the same row, which must not see it either.
    """
    for sequence in sequences:
        half = seq_len // 2
        pair = [_shortened(sequence, half), _shortened(sequences[0], half)]
        for place in sorted({0, sequence_end(pair[0]) // 2, sequence_end(pair[0])}):
            if leak := _leak(model, pair, place, seq_len=seq_len, pad_id=pad_id):
                return leak
    return None


def sequence_end(sequence: TokenSequence) -> int:
    """Return the last position."""
    return len(sequence) - 1


def _shortened(sequence: TokenSequence, length: int) -> TokenSequence:
    if len(sequence) <= length:
        return sequence
    return TokenSequence(
        task=sequence.task,
        token_ids=sequence.token_ids[:length],
        targets=sequence.targets[:length],
        loss_weights=sequence.loss_weights[:length],
        mask=sequence.mask,
        prefix_len=min(sequence.prefix_len, length),
        grid_ids=sequence.grid_ids[:length],
    )


def _leak(model: Transformer, pair: Sequence[TokenSequence], place: int, *, seq_len: int, pad_id: int) -> str | None:
    sequence = pair[0]
    batch = collate([pair], seq_len=seq_len, pad_id=pad_id, task_names=sorted({s.task for s in pair}))
    before = _hidden(model, batch)
    batch.token_ids[0, place] = (batch.token_ids[0, place] + 1) % model.config.text_vocab_size
    changes = (_hidden(model, batch) - before).abs().amax(dim=-1)[0] / before.abs().mean()
    for position in range(sum(map(len, pair))):
        may_see = position < len(sequence) and _sees(sequence, position, place)
        if changes[position] > _SAME and not may_see:
            where = f"position {position}" if position < len(sequence) else "another example of the same row"
            return f"task {sequence.task}: {where} sees token {place} of a sequence with a {sequence.mask} mask"
    return None


def _sees(sequence: TokenSequence, query: int, key: int) -> bool:
    """Whether a position may read another one, by the definition of the masks."""
    if sequence.mask is MaskKind.FULL or key <= query:
        return True
    return sequence.mask is MaskKind.PREFIX and query < sequence.prefix_len and key < sequence.prefix_len


def _hidden(model: Transformer, batch: Batch) -> torch.Tensor:
    placed = batch.to(model.device)
    model.eval()
    with torch.no_grad():
        hidden: torch.Tensor = model(
            placed.token_ids,
            position_ids_BT=placed.position_ids,
            segment_ids_BT=placed.segment_ids,
            attend_until_BT=placed.attend_until,
            grid_ids_BT=placed.grid_ids,
        )
    return hidden


def peak_bytes(work: Callable[[], None], device: torch.device) -> int:
    """Return the most memory the process (or the GPU) held while the work was done."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        work()
        return torch.cuda.max_memory_allocated(device)
    with suppress(OSError):  # Linux counts the peak anew after this
        Path("/proc/self/clear_refs").write_text("5")
    work()
    return _peak_of_process()


def _peak_of_process() -> int:
    if sys.platform == "linux":
        for line in Path("/proc/self/status").read_text("ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return int(psutil.Process().memory_info().rss)
