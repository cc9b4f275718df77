"""A rank in which something goes wrong: torchrun starts `-m proofs.training.rank_faults FAULT FOLDER train …`."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

_STEP = 12


def _around_steps(before: Callable[[Any, int], None], after: Callable[[Any, int], None]) -> None:
    """Do something before and after every step of this process."""
    from banyan.train.stepper import Stepper

    take = Stepper.step

    def step(stepper: Any, progress: Any, **options: Any) -> Any:
        before(stepper, progress.step + 1)
        taken = take(stepper, progress, **options)
        after(stepper, progress.step)
        return taken

    Stepper.step = step  # type: ignore[method-assign, assignment]


def _raise_once(folder: Path, rank: int) -> None:
    mark = folder / "raised"

    def before(stepper: Any, step: int) -> None:
        if rank == 1 and step == _STEP and not mark.exists():
            mark.touch()
            raise RuntimeError("planted: something is wrong in the forward pass of rank 1")

    _around_steps(before, lambda stepper, step: None)


def _nan_once(folder: Path, rank: int) -> None:
    from banyan.train import stepper as module

    learn, current = module.train_step, [0]

    def train_step(model: Any, batch: Any, **options: Any) -> Any:
        loss_function = options["loss_function"]

        def loss(*inputs: Any) -> Any:
            losses = loss_function(*inputs)
            bad = float("nan") if rank == 1 and current[0] == _STEP else 1.0
            return type(losses)(loss_sums=losses.loss_sums * bad, weight_sums=losses.weight_sums)

        return learn(model, batch, **{**options, "loss_function": loss})

    module.train_step = train_step  # type: ignore[assignment]

    def before(stepper: Any, step: int) -> None:
        current[0] = step

    def after(stepper: Any, step: int) -> None:
        weights = b"".join(p.detach().numpy().tobytes() for p in stepper._parts.model.parameters())
        with (folder / f"weights-{rank}.jsonl").open("a") as file:
            file.write(json.dumps({"step": step, "weights": sha256(weights).hexdigest()}) + "\n")

    _around_steps(before, after)


def _leave(last: int) -> None:
    def after(stepper: Any, step: int) -> None:
        if step == last:
            os.kill(os.getpid(), signal.SIGTERM)

    _around_steps(lambda stepper, step: None, after)


def main() -> None:
    """Plant the fault and become `banyan`."""
    fault, folder, *words = sys.argv[1:]
    rank = int(os.environ["RANK"])
    if fault == "raise":
        _raise_once(Path(folder), rank)
    elif fault == "nan":
        _nan_once(Path(folder), rank)
    else:
        _leave(int(fault.removeprefix("leave-")))
    from banyan.cli.main import main as banyan

    banyan(words)


if __name__ == "__main__":
    main()
