"""How a contender takes turns: it makes its step ready, then waits for the word and times as many steps as it is told.

Only the standard library and torch are used, so that a peer's own Python can run it.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from breakdown import breakdown

NUM_WARMUP_STEPS = 2  # the first compiles, both of them fill caches


@dataclass(frozen=True)
class Shape:
    """Sizes of one GPT-2 and of the batch it learns from."""

    num_layers: int
    num_heads: int
    embed_dim: int
    seq_len: int
    num_rows: int
    vocab_size: int

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
}


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
    return parser.parse_args()


def take_turns(step: Callable[[], float], *, broken_down: Shape | None = None) -> None:
    """Warm a step up, then time it whenever a number of steps comes in; leave at the end of the input.

    A number is answered with the seconds of each step, or, of a step that is broken down, with the kinds of work that
    they went to.
    """
    torch.set_flush_denormal(True)  # an unscaled initialisation slowed a peer's step five times
    began = time.perf_counter()
    losses = [step() for _ in range(NUM_WARMUP_STEPS)]
    tell({"ready_seconds": time.perf_counter() - began, "first_loss": losses[0]})
    for line in sys.stdin:
        if broken_down is not None:
            tell({"shares": breakdown(step, num_steps=int(line), vocab_size=broken_down.vocab_size)})
            continue
        seconds = []
        for _ in range(int(line)):
            started = time.perf_counter()
            step()
            seconds.append(time.perf_counter() - started)
        tell({"seconds": seconds, "peak_bytes": peak_bytes()})


def peak_bytes() -> int:
    """Return the most memory this process has held, compilation included."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def tell(message: dict[str, object]) -> None:
    print(json.dumps(message), flush=True)
