"""How a contender takes turns: it makes its step ready, then waits for the word and times as many steps as it is told.

On a GPU, a turn begins with a step that is not timed and ends by giving back what lies free there, so that contenders
which wait hold only weights, gradients and moments. Only the standard library and torch are used, so that a peer's own
Python can run it.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from breakdown import breakdown

NUM_WARMUP_STEPS = 2  # the first compiles, both of them fill caches
PEER_PRECISIONS = {"eager": torch.float32, "compiled": torch.float32, "bfloat16": torch.bfloat16}  # of a plain loop


@dataclass(frozen=True)
class Shape:
    """Sizes of one GPT-2 and of the batch it learns from."""

    num_layers: int
    num_heads: int
    embed_dim: int
    seq_len: int
    num_rows: int  # in one step
    vocab_size: int
    accumulation: int = 1  # micro-batches of a step

    @property
    def batch_tokens(self) -> int:
        return self.num_rows * self.seq_len

    @property
    def num_matrix_weights(self) -> int:
        """Weights that take part in products: blocks and the tied head; positions, gains and biases left out."""
        return 12 * self.num_layers * self.embed_dim**2 + self.vocab_size * self.embed_dim

    @property
    def step_flops(self) -> float:
        """Forward and backward: (6 N + 12 L C T) a token. Source: Chowdhery et al. 2022 (PaLM), appendix B."""
        attention = 12 * self.num_layers * self.embed_dim * self.seq_len
        return float(self.batch_tokens * (6 * self.num_matrix_weights + attention))


SHAPES = {
    "tiny": Shape(4, 4, 128, 64, 12, 65),
    "small": Shape(6, 6, 384, 256, 16, 65),
    "124M": Shape(12, 12, 768, 256, 4, 50257),
    # As nanoGPT trains it: 1,024 tokens, and the words filled up to a multiple of 64, for the tensor cores.
    "124M-1024": Shape(12, 12, 768, 1024, 64, 50304, accumulation=4),
}
SHAPES_ON = {"cpu": ("tiny", "small", "124M"), "cuda": ("124M-1024",)}


class TokenStream:
    """Batches of random stretches from one stream of random ids: what a loader costs, and no more."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._random = torch.Generator().manual_seed(1)
        self._ids = torch.randint(shape.vocab_size, (1_000_000,), generator=self._random)

    def next(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return inputs and targets, both (rows, positions)."""
        length, rows = self._shape.seq_len, self._shape.num_rows
        starts = torch.randint(len(self._ids) - length - 1, (rows,), generator=self._random).tolist()
        windows = torch.stack([self._ids[start : start + length + 1] for start in starts])
        return windows[:, :-1].contiguous(), windows[:, 1:].contiguous()


def contender_options(modes: tuple[str, ...]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--shape", choices=list(SHAPES), required=True)
    parser.add_argument("--mode", choices=modes, required=True)
    parser.add_argument("--checkout", help="folder of a peer that is no package")
    parser.add_argument("--breakdown", action="store_true", help="tell where the time of a step goes")
    parser.add_argument("--device", choices=list(SHAPES_ON), default="cpu")
    parser.add_argument("--micro-batch", type=int, help="rows of a micro-batch, instead of the shape's")
    return parser.parse_args()


def shape_of(options: argparse.Namespace) -> Shape:
    return with_micro_batches(SHAPES[options.shape], options.micro_batch)


def with_micro_batches(shape: Shape, num_rows: int | None) -> Shape:
    """Return a shape whose step is cut into micro-batches of so many rows; None: as it is."""
    return shape if num_rows is None else replace(shape, accumulation=max(1, shape.num_rows // num_rows))


def micro_batches(
    batch: tuple[torch.Tensor, torch.Tensor], shape: Shape, *, device: str
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return the inputs and targets of each micro-batch of a step, where the model lies."""
    if device != "cpu":
        batch = tuple(part.pin_memory().to(device, non_blocking=True) for part in batch)
    return list(zip(*(part.chunk(shape.accumulation) for part in batch), strict=True))


def take_turns(step: Callable[[], float], *, broken_down: Shape | None = None, device: str = "cpu") -> None:
    """Warm a step up, then time it whenever a number of steps comes in; leave at the end of the input.

    A number is answered with the seconds of each step, or, of a step that is broken down, with the kinds of work that
    they went to.
    """
    torch.set_flush_denormal(True)  # an unscaled initialisation slowed a peer's step five times
    began = time.perf_counter()
    losses = [step() for _ in range(NUM_WARMUP_STEPS)]
    settle(device)
    tell({"ready_seconds": time.perf_counter() - began, "first_loss": losses[0]})
    for line in sys.stdin:
        if broken_down is not None:
            tell({"shares": breakdown(step, num_steps=int(line), vocab_size=broken_down.vocab_size)})
            continue
        tell({"seconds": timed(step, num_steps=int(line), device=device), "peak_bytes": peak_bytes(device)})
        settle(device)


def timed(step: Callable[[], float], *, num_steps: int, device: str) -> list[float]:
    """Return the seconds of each step; on a GPU from one moment at which it has nothing left to do to the next."""
    if device != "cpu":
        step()  # asks anew for the memory that was given back
    seconds = []
    for _ in range(num_steps):
        wait_for(device)
        started = time.perf_counter()
        step()
        wait_for(device)
        seconds.append(time.perf_counter() - started)
    return seconds


def wait_for(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def settle(device: str) -> None:
    """Give back what lies free on a GPU, and count its peak anew: that of compiling is none of a step's."""
    if device != "cpu":
        wait_for(device)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_bytes(device: str = "cpu") -> int:
    """Return the most memory this process has held, compilation included; on a GPU, its steps' tensors there."""
    if device != "cpu":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def tell(message: dict[str, object]) -> None:
    print(json.dumps(message), flush=True)
