"""What the contenders of `time_to_loss.py` have in common: the text, the clock, the evaluation, the report.

A contender is a process of its own. Its clock starts when the parent starts the process, so the interpreter, the
imports and any compilation count; evaluation does not. Every contender is scored on the whole validation text, cut into
windows of the context length that the trial names, each character but the very first predicted exactly once.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

EVALUATION_TOKENS = 16384  # in one forward pass


@dataclass
class Clock:
    """Seconds since the process was started, without those spent in evaluation."""

    started: float  # time.monotonic() of the parent: one clock for all processes of a machine
    left_out: float = 0.0

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started - self.left_out


@dataclass
class Trial:
    """One contender's task: learn a text, and say at which second it scored what."""

    train: Tensor  # ids of the training text, int64
    validation: Tensor
    vocab_size: int
    seq_len: int  # characters in a window
    seed: int
    max_seconds: float  # stop here; infinity: when the recipe ends
    recipe: str
    clock: Clock
    report_path: Path
    device: str = "cpu"
    curve: list[dict[str, float]] = field(default_factory=list)

    def evaluate(self, logits_of: Callable[[Tensor], Tensor], *, step: int) -> float:
        """Note the loss on the whole validation text, in nats a character; the clock stands still meanwhile."""
        if self.device != "cpu":
            torch.cuda.synchronize()  # what is under way counts
        began = time.monotonic()
        seconds = self.clock.seconds
        with torch.no_grad():
            loss = validation_loss(logits_of, self.validation, seq_len=self.seq_len, device=self.device)
        self.curve.append({"step": step, "seconds": seconds, "loss": loss})
        self.clock.left_out += time.monotonic() - began
        return loss

    def finish(self, *, num_parameters: int, **notes: Any) -> None:
        report = {"num_parameters": num_parameters, "curve": self.curve, **notes}
        self.report_path.write_text(json.dumps(report))


def validation_loss(logits_of: Callable[[Tensor], Tensor], ids: Tensor, *, seq_len: int, device: str = "cpu") -> float:
    """Return the mean loss over a text cut into windows, nats a character."""
    num_predicted = len(ids) - 1
    num_whole = num_predicted // seq_len
    windows = ids[: num_whole * seq_len].view(num_whole, seq_len), ids[1 : num_whole * seq_len + 1].view(-1, seq_len)
    pieces = list(zip(*(part.split(max(1, EVALUATION_TOKENS // seq_len)) for part in windows), strict=True))
    if num_whole * seq_len < num_predicted:
        pieces.append((ids[None, num_whole * seq_len : -1], ids[None, num_whole * seq_len + 1 :]))
    total = sum(
        float(F.cross_entropy(logits_of(token_ids).flatten(0, 1).float(), targets.flatten(), reduction="sum"))
        for token_ids, targets in ((part.to(device) for part in piece) for piece in pieces)
    )
    return total / num_predicted


def read_trial() -> Trial:
    """Read the contender's command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--started", type=float, required=True)
    parser.add_argument("--texts", type=Path, required=True, help="folder with train.bin, validation.bin, alphabet.bin")
    parser.add_argument("--report", type=Path, required=True)
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--seq-len", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--max-seconds", type=float, default=float("inf"))
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    alphabet = np.frombuffer((options.texts / "alphabet.bin").read_bytes(), dtype=np.uint8)
    id_of = np.zeros(256, dtype=np.int64)
    id_of[alphabet] = np.arange(len(alphabet))
    texts = (np.frombuffer((options.texts / f"{part}.bin").read_bytes(), np.uint8) for part in ("train", "validation"))
    train, validation = (torch.from_numpy(id_of[text]) for text in texts)
    return Trial(
        train=train,
        validation=validation,
        vocab_size=len(alphabet),
        seq_len=options.seq_len,
        seed=options.seed,
        max_seconds=options.max_seconds,
        recipe=options.recipe,
        clock=Clock(options.started),
        report_path=options.report,
        device=options.device,
    )
