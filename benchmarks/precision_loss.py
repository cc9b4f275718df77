"""What coarser products cost in loss: the small shape on real text, 1,000 steps in float32, bfloat16 and int8.

    BANYAN_DATA=… python benchmarks/precision_loss.py [--quick] [--minutes 3.5] [--precisions float32 int8]

Same text, same batches, same first weights for all. A run saves itself when its minutes are over and goes on when it is
called again. The last line is one JSON object, or says what is left to do.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from functools import partial
from pathlib import Path

from banyan.cli.main import prepare_process

prepare_process(debug=False)  # as every command does, before torch loads

import torch  # noqa: E402
from banyan_loop import SHAPES, batch_of, new_model  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from torch import Tensor  # noqa: E402

from banyan.core.paths import data_directory, runs_directory  # noqa: E402
from banyan.data.batch import Batch  # noqa: E402
from banyan.train.balance import default_balance  # noqa: E402
from banyan.train.compilation import compiler_problem, with_blocks  # noqa: E402
from banyan.train.losses import joint_loss  # noqa: E402
from banyan.train.memory import keep_freed_memory  # noqa: E402
from banyan.train.optimizer import OptimizerConfig, build_optimizer  # noqa: E402
from banyan.train.precision import in_precision  # noqa: E402
from banyan.train.schedule import ScheduleConfig, learning_rate_factor  # noqa: E402
from banyan.train.step import train_step  # noqa: E402

SHAPE = SHAPES["small"]
GOAL = 0.005  # relative difference of the final loss
LAST_STEPS = 100  # whose mean loss stands for the end of training
LOSS = partial(joint_loss, task_heads=(None,))


class Text:
    """Tiny shakespeare, character by character."""

    def __init__(self) -> None:
        folder = data_directory()
        if folder is None:
            raise SystemExit("set BANYAN_DATA to the folder that holds tinyshakespeare/")
        train, validation = (
            (folder / "tinyshakespeare" / f"{split}.txt").read_text(encoding="utf-8")
            for split in ("train", "validation")
        )
        ids = {character: number for number, character in enumerate(sorted(set(train + validation)))}
        self.train, self.validation = (
            torch.tensor([ids[character] for character in text]) for text in (train, validation)
        )

    def batch(self, step: int) -> Batch:
        """Return the batch of a step, which depends on nothing else."""
        random = torch.Generator().manual_seed(step)
        starts = torch.randint(len(self.train) - SHAPE.seq_len - 1, (SHAPE.num_rows,), generator=random).tolist()
        return rows_at(self.train, starts)

    def validation_batches(self) -> list[Batch]:
        starts = range(0, len(self.validation) - SHAPE.seq_len - 1, SHAPE.seq_len)
        return [rows_at(self.validation, list(starts)[first : first + 32]) for first in range(0, len(starts), 32)]


def rows_at(ids: Tensor, starts: list[int]) -> Batch:
    windows = torch.stack([ids[start : start + SHAPE.seq_len + 1] for start in starts])
    return batch_of(windows[:, :-1].contiguous(), windows[:, 1:].contiguous())


class Run:
    """Training in one precision, which can stop at any step and go on."""

    def __init__(self, precision: str, *, num_steps: int, folder: Path) -> None:
        self.precision = precision
        self.num_steps = num_steps
        self.losses: list[float] = []
        self._folder = folder / f"{precision}-{num_steps}"
        self._model = new_model(SHAPE)
        self._optimizer = build_optimizer(self._model, OptimizerConfig(name="adamw", learning_rate=1e-3))
        loss = in_precision(LOSS, model=self._model, precision=precision)
        self._loss = with_blocks(loss, model=self._model, is_compiled=compiler_problem() is None)
        self._load()

    def advance(self, text: Text, *, until: float) -> bool:
        """Train to the last step or to a moment; return whether it is done."""
        while len(self.losses) < self.num_steps and time.monotonic() < until:
            self._step(text)
        self._save()
        return len(self.losses) == self.num_steps

    def validation_loss(self, text: Text) -> float:
        """Return the mean loss on the validation text, with products in float32 for all."""
        self._model.eval()
        with torch.no_grad():
            sums = [LOSS(self._model, batch) for batch in text.validation_batches()]
        self._model.train()
        return float(sum(part.loss_sums[0] for part in sums) / sum(part.weight_sums[0] for part in sums))

    def _step(self, text: Text) -> None:
        step = len(self.losses) + 1
        factor = learning_rate_factor(step, num_steps=self.num_steps, schedule=ScheduleConfig())
        self._optimizer.prepare_step(step, rate_factor=factor)
        result = train_step(
            self._model,
            text.batch(step),
            optimizer=self._optimizer,
            loss_function=self._loss,
            balance=default_balance(self._model, (None,)),
        )
        self.losses.append(result.task_losses[0])

    def _save(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        save_file(dict(self._model.state_dict()), self._folder / "model.safetensors")
        save_file(self._optimizer.tensors(), self._folder / "optimizer.safetensors")
        (self._folder / "losses.json").write_text(json.dumps(self.losses))  # last: it says that the others are whole

    def _load(self) -> None:
        if (self._folder / "losses.json").is_file():
            self.losses = json.loads((self._folder / "losses.json").read_text())
            self._model.load_state_dict(load_file(self._folder / "model.safetensors"))
            self._optimizer.load_tensors(load_file(self._folder / "optimizer.safetensors"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="60 steps")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after so long; call again to go on")
    parser.add_argument("--precisions", nargs="+", default=["float32", "bfloat16", "int8"])
    options = parser.parse_args()
    until = time.monotonic() + 60 * options.minutes
    keep_freed_memory()
    torch.set_flush_denormal(True)
    text, num_steps = Text(), 60 if options.quick else 1000
    folder = runs_directory() / "precision-loss"
    found: dict[str, float] = {}
    for precision in options.precisions:
        run = Run(precision, num_steps=num_steps, folder=folder)
        if not run.advance(text, until=until):
            print(f"{precision}: {len(run.losses)} of {num_steps} steps; call again to go on")
            return
        found[precision] = run.validation_loss(text)
        last = run.losses[-LAST_STEPS:]
        print(f"{precision:<10} training loss {sum(last) / len(last):.4f}, validation loss {found[precision]:.4f} nats")
    print(json.dumps({"figures": [figure(name, loss, found) for name, loss in found.items() if name != "float32"]}))


def figure(precision: str, loss: float, found: dict[str, float]) -> dict[str, object]:
    """Return the relative difference to float32; above 1 where it is within the goal."""
    difference = abs(loss / found["float32"] - 1)
    ratio = GOAL / max(difference, 1e-6)
    unit = "relative difference of validation loss"
    return {
        "name": f"precision-loss/{precision}",
        "value": round(difference, 5),
        "unit": unit,
        "ratio": round(min(ratio, 100), 3),
        "against": "goal of 0.5 %",
    }


if __name__ == "__main__":
    main()
