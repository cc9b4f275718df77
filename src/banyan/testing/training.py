"""A tiny training run of three tasks (words, labels, spans) that a test can finish in a moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from banyan.core.types import NO_TARGET, HeadKind, HeadSpec, MaskKind, TokenSequence
from banyan.data.batch import Batch, BatchLoader, collate
from banyan.data.loader import MixtureLoader
from banyan.data.sequences import ExampleSequences
from banyan.model.transformer import Transformer
from banyan.testing.models import tiny_model_config
from banyan.train.callbacks import Callback
from banyan.train.config import TrainConfig
from banyan.train.evaluations import Evaluator
from banyan.train.optimizer import OptimizerConfig
from banyan.train.ranks import ALONE, Ranks
from banyan.train.schedule import ScheduleConfig
from banyan.train.step import LossFunction
from banyan.train.trainer import Trainer

SEQ_LEN = 16
TASKS = ("words", "labels", "spans")
HEADS: tuple[HeadSpec | None, ...] = (
    None,
    HeadSpec(name="labels", kind=HeadKind.CLASSIFICATION, labels=("a", "b", "c")),
    HeadSpec(name="spans", kind=HeadKind.SPAN),
)


def tiny_sequence(task: str, number: int, *, length: int | None = None) -> TokenSequence:
    """Return a sequence whose answer can be learned: words count up, a label is the first word modulo 3."""
    rng = np.random.default_rng(number)
    length = length or int(rng.integers(3, 9))
    first = int(rng.integers(0, 30))
    ids = tuple(range(first, first + length))
    targets = {
        "words": [i + 1 for i in ids],
        "labels": [NO_TARGET] * (length - 1) + [first % 3],
        "spans": [NO_TARGET, 1, 2] + [NO_TARGET] * (length - 3),
    }[task]
    return TokenSequence(
        task=task,
        token_ids=ids,
        targets=tuple(targets),
        loss_weights=tuple(float(target != NO_TARGET) for target in targets),
        mask=MaskKind.CAUSAL if task == "words" else MaskKind.PREFIX,
        prefix_len=0 if task == "words" else length,
    )


def tiny_batch(*, num_rows: int = 6, seed: int = 0, tasks: Sequence[str] = TASKS) -> Batch:
    """Return rows of two sequences each, task after task."""
    rows = [
        [tiny_sequence(tasks[row % len(tasks)], 1000 * seed + 10 * row + i, length=5 + i) for i in range(2)]
        for row in range(num_rows)
    ]
    return collate(rows, seq_len=SEQ_LEN, pad_id=0, task_names=TASKS)


def tiny_loader(*, rows_per_batch: int = 4, seed: int = 0, size: int = 40) -> MixtureLoader:
    """Return a loader over so few examples that some steps run through several epochs."""
    sources = [
        ExampleSequences(task, [tiny_sequence(task, 100 * k + i) for i in range(size)]) for k, task in enumerate(TASKS)
    ]
    return MixtureLoader(
        sources,
        rates={"words": 0.5, "labels": 0.25, "spans": 0.25},
        seq_len=SEQ_LEN,
        rows_per_batch=rows_per_batch,
        pad_id=0,
        task_names=TASKS,
        seed=seed,
    )


def tiny_learner(**changes: Any) -> Transformer:
    """Return a freshly initialised tiny model with the heads of the tiny tasks, ready to learn."""
    heads = [head for head in HEADS if head is not None]
    return Transformer(tiny_model_config(**changes), heads).train()


def tiny_trainer(
    run_directory: Path,
    *,
    steps: int = 12,
    dropout: float = 0.1,
    train: Mapping[str, Any] | None = None,
    optimizer: OptimizerConfig | None = None,
    loader: BatchLoader | None = None,
    sidecars: Mapping[str, bytes] | None = None,
    callbacks: Sequence[Callback] = (),
    evaluator: Evaluator | None = None,
    seed: int = 0,
    loss_function: LossFunction | None = None,
    ranks: Ranks = ALONE,
) -> Trainer:
    """Return a trainer of the tiny run; any of its parts can be replaced."""
    sizes: dict[str, Any] = {"micro_batch_seqs": 2, "accumulation_steps": 2, "seq_len": SEQ_LEN, "log_every": 1}
    return Trainer(
        tiny_learner(dropout=dropout),
        loader=loader or tiny_loader(seed=seed),
        task_names=TASKS,
        task_heads=HEADS,
        config=TrainConfig(**{"steps": steps, **sizes, **(train or {})}),
        optimizer=optimizer or OptimizerConfig(),
        schedule=ScheduleConfig(),
        run_directory=run_directory,
        sidecars=sidecars,
        callbacks=callbacks,
        evaluator=evaluator,
        seed=seed,
        loss_function=loss_function,
        ranks=ranks,
    )
