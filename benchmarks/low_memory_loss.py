"""The loss of a run whose weights move during the backward pass, beside that of an ordinary run.

    python benchmarks/low_memory_loss.py [--quick] [--steps 400] [--recipe prose-adamw]

Both learn the same batches of the recipes of `fault_injection.py`, taken at once. Real text: BANYAN_DATA.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from fault_injection import RECIPES, Bench, Heard, prepare, run

from banyan.train.callbacks import StepRecord

STRETCH = 10  # steps that one figure of the curve averages


class Losses(Heard):
    """Remembers the loss of every step."""

    def __init__(self) -> None:
        super().__init__()
        self.losses: list[float] = []

    def on_step(self, record: StepRecord) -> None:
        super().on_step(record)
        self.losses.append(record.loss)


def at_once(bench: Bench, *, is_lean: bool) -> Bench:
    """Return the bench with its batch in one part, as the update in the backward pass needs it."""
    train = bench.recipe.train
    whole = replace(train, micro_batch_seqs=train.batch_seqs, accumulation_steps=1, update_in_backward=is_lean)
    return replace(bench, recipe=replace(bench.recipe, train=whole))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="80 steps")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--recipe", choices=list(RECIPES), default="prose-adamw")
    options = parser.parse_args()
    steps = 80 if options.quick else options.steps
    if not os.environ.get("BANYAN_DATA"):
        raise SystemExit("set BANYAN_DATA to the folder of the data sets")
    torch.set_flush_denormal(True)
    ends, curves = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        bench = prepare(options.recipe, steps=steps, folder=Path(folder))
        for name, is_lean in (("ordinary", False), ("in the backward pass", True)):
            heard = Losses()
            ends[name] = run(at_once(bench, is_lean=is_lean), heard=heard)
            curves[name] = heard.losses
    for step in sorted({steps * part // 4 for part in range(1, 5)}):
        means = {name: statistics.fmean(losses[step - STRETCH : step]) for name, losses in curves.items()}
        print(f"step {step:>5}: " + ", ".join(f"{name} {loss:.4f}" for name, loss in means.items()))
    ratio = ends["in the backward pass"] / ends["ordinary"]
    print(f"held out: {ends}, {100 * (ratio - 1):+.2f} %")
    figure = {
        "name": f"low-memory-loss/{options.recipe}",
        "value": ends["in the backward pass"],
        "unit": "of a guesser",
    }
    print(json.dumps({"figures": [{**figure, "ratio": 1 / ratio, "against": "the same run, updated after the pass"}]}))


if __name__ == "__main__":
    main()
