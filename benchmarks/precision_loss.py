"""What coarser products cost in loss: the small shape on real text, 1,000 steps in float32, bfloat16 and int8.

    BANYAN_DATA=… python benchmarks/precision_loss.py [--quick] [--minutes 3.5] [--precisions float32 int8]
        [--text eltec_eng] [--optimizer muon] [--seed 1]

Same text, same batches, same first weights for all. A run saves itself when its minutes are over and goes on when it is
called again; every text, optimizer and seed has runs of its own. The last line is one JSON object, or says what is left
to do.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import time
from dataclasses import dataclass
from functools import partial

from banyan.cli.main import prepare_process

prepare_process(debug=False)  # as every command does, before torch loads

import numpy as np  # noqa: E402
import torch  # noqa: E402
from banyan_loop import batch_of, new_model  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from time_to_loss import MAX_TRAINING_BYTES, text_of  # noqa: E402
from torch import Tensor  # noqa: E402
from turns import SHAPES  # noqa: E402

from banyan.core.paths import data_directory, runs_directory  # noqa: E402
from banyan.data.batch import Batch  # noqa: E402
from banyan.data.catalog import CATALOG  # noqa: E402
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
MAX_VALIDATION_BYTES = 200_000  # of a longer text: two million positions would take longer to score than to learn
MAX_STEPS = 1_000_000  # of one seed: its batches are numbered from here on times the seed
LOSS = partial(joint_loss, task_heads=(None,))
OPTIMIZERS = {
    "adamw": OptimizerConfig(name="adamw", learning_rate=1e-3),
    "muon": OptimizerConfig(name="muon"),  # with the rates of a recipe that says nothing
}
TEXTS = [name for name, entry in CATALOG.items() if entry.kind == "language_modeling" and "train" in entry.files]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all precisions learn alike."""

    text: str = "tinyshakespeare"
    optimizer: str = "adamw"
    seed: int = 0

    @property
    def name(self) -> str:
        """As files and figures have it: what differs from the usual setting, if anything."""
        changed = [
            f"seed{value}" if field.name == "seed" else value
            for field in dataclasses.fields(self)
            if (value := getattr(self, field.name)) != field.default
        ]
        return "-".join(["precision-loss", *changed])


class Text:
    """A data set byte by byte; of tiny shakespeare that is character by character."""

    def __init__(self, setting: Setting) -> None:
        if data_directory() is None:
            raise SystemExit(f"set BANYAN_DATA to the folder that holds {setting.text}/")
        train = text_of(setting.text, "train")[:MAX_TRAINING_BYTES]
        validation = text_of(setting.text, "validation")[:MAX_VALIDATION_BYTES]
        alphabet = sorted(set(train + validation))
        ids = np.zeros(256, dtype=np.int64)
        ids[alphabet] = np.arange(len(alphabet))
        self.vocab_size = len(alphabet)
        self.train, self.validation = (
            torch.from_numpy(ids[np.frombuffer(text, np.uint8)]) for text in (train, validation)
        )
        self._first = setting.seed * MAX_STEPS

    def batch(self, step: int) -> Batch:
        """Return the batch of a step, which depends on the seed and on nothing else."""
        random = torch.Generator().manual_seed(self._first + step)
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

    def __init__(self, precision: str, *, setting: Setting, text: Text, num_steps: int) -> None:
        self.num_steps = num_steps
        self.losses: list[float] = []
        self._text = text
        self._folder = runs_directory() / setting.name / f"{precision}-{num_steps}"
        self._model = new_model(dataclasses.replace(SHAPE, vocab_size=text.vocab_size))
        self._model.init_weights(torch.Generator().manual_seed(setting.seed))
        self._optimizer = build_optimizer(self._model, OPTIMIZERS[setting.optimizer])
        loss = in_precision(LOSS, model=self._model, precision=precision)
        self._loss = with_blocks(loss, model=self._model, is_compiled=compiler_problem() is None)
        self._load()

    def advance(self, *, until: float) -> bool:
        """Train to the last step or to a moment; return whether it is done."""
        while len(self.losses) < self.num_steps and time.monotonic() < until:
            self._step()
        self._save()
        return len(self.losses) == self.num_steps

    def validation_loss(self) -> float:
        """Return the mean loss on the validation text, with products in float32 for all."""
        self._model.eval()
        with torch.no_grad():
            sums = [LOSS(self._model, batch) for batch in self._text.validation_batches()]
        self._model.train()
        return float(sum(part.loss_sums[0] for part in sums) / sum(part.weight_sums[0] for part in sums))

    def _step(self) -> None:
        step = len(self.losses) + 1
        factor = learning_rate_factor(step, num_steps=self.num_steps, schedule=ScheduleConfig())
        self._optimizer.prepare_step(step, rate_factor=factor)
        result = train_step(
            self._model,
            self._text.batch(step),
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
    parser.add_argument("--text", choices=TEXTS, default=Setting().text)
    parser.add_argument("--optimizer", choices=list(OPTIMIZERS), default=Setting().optimizer)
    parser.add_argument("--seed", type=int, default=Setting().seed, help="of the first weights and of the batches")
    options = parser.parse_args()
    until = time.monotonic() + 60 * options.minutes
    keep_freed_memory()
    torch.set_flush_denormal(True)
    setting = Setting(text=options.text, optimizer=options.optimizer, seed=options.seed)
    text, num_steps = Text(setting), 60 if options.quick else 1000
    found: dict[str, float] = {}
    for precision in dict.fromkeys(["float32", *options.precisions]):  # all are held against float32
        run = Run(precision, setting=setting, text=text, num_steps=num_steps)
        if not run.advance(until=until):
            print(f"{precision}: {len(run.losses)} of {num_steps} steps; call again to go on")
            return
        found[precision] = run.validation_loss()
        last = run.losses[-LAST_STEPS:]
        print(
            f"{precision:<10} training loss {sum(last) / len(last):.4f}, validation loss {found[precision]:.4f} nats, "
            f"{100 * (found[precision] / found['float32'] - 1):+.2f} % of float32's"
        )
    print(json.dumps({"figures": [figure(setting, name, found) for name in found if name != "float32"]}))


def figure(setting: Setting, precision: str, found: dict[str, float]) -> dict[str, object]:
    """Return the relative difference to float32; above 1 where it is within the goal."""
    difference = abs(found[precision] / found["float32"] - 1)
    ratio = GOAL / max(difference, 1e-6)
    return {
        "name": f"{setting.name}/{precision}",
        "value": round(difference, 5),
        "unit": "relative difference of validation loss",
        "ratio": round(min(ratio, 100), 3),
        "against": "goal of 0.5 %",
    }


if __name__ == "__main__":
    main()
