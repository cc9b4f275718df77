"""Hugging Face transformers: GPT2LMHeadModel in a plain loop (eager, compiled, bfloat16) and in its own Trainer."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator

import torch
from torch import nn
from torch.utils.data import IterableDataset
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments
from turns import (
    NUM_WARMUP_STEPS,
    PEER_PRECISIONS,
    Shape,
    TokenStream,
    contender_options,
    micro_batches,
    peak_bytes,
    shape_of,
    take_turns,
    tell,
)


def build(shape: Shape) -> GPT2LMHeadModel:
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=shape.vocab_size,
        n_positions=shape.seq_len,
        n_embd=shape.embed_dim,
        n_layer=shape.num_layers,
        n_head=shape.num_heads,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        use_cache=False,
        bos_token_id=0,
        eos_token_id=0,
    )
    return GPT2LMHeadModel(config).train()


class Loop:
    """The plain loop of the reference around another model."""

    def __init__(self, shape: Shape, *, mode: str, device: str = "cpu") -> None:
        torch.backends.cuda.matmul.allow_tf32 = True
        self.shape, self.device, self.dtype = shape, device, PEER_PRECISIONS[mode]
        self.model = build(shape).to(device)
        self.forward = self.model if mode == "eager" else torch.compile(self.model)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3, betas=(0.9, 0.95), fused=True)
        self.stream = TokenStream(shape)

    def step(self) -> float:
        parts = micro_batches(self.stream.next(), self.shape, device=self.device)
        self.optimizer.zero_grad(set_to_none=True)
        for token_ids, _ in parts:
            with torch.autocast(self.device, dtype=self.dtype, enabled=self.dtype != torch.float32):
                loss = self.forward(input_ids=token_ids, labels=token_ids).loss / len(parts)
            loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return len(parts) * float(loss.item())


class Stretches(IterableDataset):  # type: ignore[type-arg]
    """The same random stretches, one at a time, as a Trainer wants them."""

    def __init__(self, shape: Shape) -> None:
        self._stream = TokenStream(shape)

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        while True:
            token_ids, _ = self._stream.next()
            yield from ({"input_ids": row, "labels": row} for row in token_ids)


class Turns(TrainerCallback):
    """Lets a Trainer, which owns its loop, take turns like everybody else."""

    def __init__(self) -> None:
        self._left = NUM_WARMUP_STEPS
        self._is_ready = False
        self._seconds: list[float] = []
        self._began = self._started = time.perf_counter()

    def on_step_begin(self, args, state, control, **kwargs):  # type: ignore[no-untyped-def]
        self._started = time.perf_counter()

    def on_step_end(self, args, state, control, **kwargs):  # type: ignore[no-untyped-def]
        now = time.perf_counter()
        self._seconds.append(now - self._started)
        self._left -= 1
        if self._left:
            return
        if self._is_ready:
            tell({"seconds": self._seconds, "peak_bytes": peak_bytes()})
        else:
            tell({"ready_seconds": now - self._began})
        self._is_ready, self._seconds = True, []
        try:
            self._left = int(input())
        except EOFError:
            control.should_training_stop = True


def run_trainer(shape: Shape) -> None:
    torch.set_flush_denormal(True)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=shape.num_rows,
            max_steps=1_000_000,
            learning_rate=1e-3,
            weight_decay=0.1,
            optim="adamw_torch_fused",
            logging_strategy="no",
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
        )
        trainer = Trainer(model=build(shape), args=arguments, train_dataset=Stretches(shape), callbacks=[Turns()])
        trainer.train()


def main() -> None:
    options = contender_options((*PEER_PRECISIONS, "trainer"))
    shape = shape_of(options)
    if options.mode == "trainer":
        run_trainer(shape)
    else:
        take_turns(Loop(shape, mode=options.mode, device=options.device).step, device=options.device)


if __name__ == "__main__":
    main()
