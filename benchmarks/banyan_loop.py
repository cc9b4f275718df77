"""Banyan's own training step, taking its turns: batch, joint loss, balance and optimizer as in a run."""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path

from banyan.cli.main import prepare_process

prepare_process(debug=False)  # as every command does, before torch loads

import torch  # noqa: E402

from banyan.core.types import NO_GRID  # noqa: E402
from banyan.data.batch import Batch  # noqa: E402
from banyan.model.config import ModelConfig  # noqa: E402
from banyan.model.presets import GPT2_SHAPE  # noqa: E402
from banyan.model.transformer import Transformer  # noqa: E402
from banyan.train.backward_update import BackwardUpdate  # noqa: E402
from banyan.train.balance import default_balance  # noqa: E402
from banyan.train.compilation import compiler_problem, with_blocks  # noqa: E402
from banyan.train.configured_loss import MIN_WIDEST  # noqa: E402
from banyan.train.lean_step import lean_step  # noqa: E402
from banyan.train.losses import joint_loss  # noqa: E402
from banyan.train.memory import FreedMemory, settle_freed_memory  # noqa: E402
from banyan.train.optimizer import OptimizerConfig, build_optimizer  # noqa: E402
from banyan.train.precision import in_precision  # noqa: E402
from banyan.train.prefetch import pinned  # noqa: E402
from banyan.train.step import train_step  # noqa: E402
from banyan.train.tied_table import with_head_apart  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent / "peers"))

from turns import Shape, TokenStream, contender_options, shape_of, take_turns  # noqa: E402

MODES = ("eager", "compiled", "lean", "lean-eager", "lean-muon", "bfloat16", "int8")


def new_model(shape: Shape) -> Transformer:
    config = ModelConfig(
        **GPT2_SHAPE,
        num_layers=shape.num_layers,
        num_heads=shape.num_heads,
        embed_dim=shape.embed_dim,
        vocab_size=shape.vocab_size,
        max_seq_len=shape.seq_len,
    )
    return Transformer(config).train()


def batch_of(token_ids: torch.Tensor, targets: torch.Tensor) -> Batch:
    """Return whole rows of one task that predict the next token everywhere."""
    positions = torch.arange(token_ids.shape[1]).expand_as(token_ids).contiguous()
    nothing = torch.zeros_like(token_ids)
    return Batch(
        token_ids=token_ids,
        targets=targets,
        loss_weights=torch.ones(token_ids.shape),
        position_ids=positions,
        segment_ids=nothing,
        attend_until=positions,
        grid_ids=torch.full_like(token_ids, NO_GRID),
        task_ids=nothing,
        noise_seeds=nothing[:, 0],
    )


class Loop:
    """The step of a run of one task."""

    def __init__(self, shape: Shape, *, mode: str, device: str = "cpu") -> None:
        is_lean = mode.startswith("lean")
        settle_freed_memory(is_kept=not is_lean)
        self.shape, self.device = shape, device
        self.model = new_model(shape).to(device)
        name = "muon" if mode == "lean-muon" else "adamw"
        self.optimizer = build_optimizer(self.model, OptimizerConfig(name=name, learning_rate=1e-3))
        precision = mode if mode in ("bfloat16", "int8") else "float32"
        loss = in_precision(partial(joint_loss, task_heads=(None,)), model=self.model, precision=precision)
        if not is_lean:
            loss = with_head_apart(loss, model=self.model)
        is_compiled = mode not in ("eager", "lean-eager", "lean-muon") and compiler_problem() is None
        widest = shape.batch_tokens // shape.accumulation * self.model.config.ffn_dim
        is_sparing = device == "cpu" and widest >= MIN_WIDEST
        self.loss_function = with_blocks(
            loss, model=self.model, is_compiled=is_compiled, is_lean=is_lean, is_sparing=is_sparing
        )
        self.update = BackwardUpdate(self.model, self.optimizer, clip_norm=1.0) if is_lean else None
        self.balance = default_balance(self.model, (None,))
        self.stream = TokenStream(shape)
        self.freed = FreedMemory()

    def step(self) -> float:
        parts = {"optimizer": self.optimizer, "loss_function": self.loss_function, "balance": self.balance}
        began = time.perf_counter()
        self.freed.before_step(drop=self.optimizer.zero_grad)
        batch = batch_of(*self.stream.next())
        batch = batch if self.device == "cpu" else pinned(batch)
        if self.update is not None:
            result = lean_step(self.model, batch, update=self.update, **parts)
        else:
            accumulation = self.shape.accumulation
            result = train_step(self.model, batch, clip_norm=1.0, accumulation_steps=accumulation, **parts)
        self.freed.after_step(step_seconds=time.perf_counter() - began)
        return result.task_losses[0]


def main() -> None:
    options = contender_options(MODES)
    shape = shape_of(options)
    loop = Loop(shape, mode=options.mode, device=options.device)
    take_turns(loop.step, broken_down=shape if options.breakdown else None, device=options.device)


if __name__ == "__main__":
    main()
