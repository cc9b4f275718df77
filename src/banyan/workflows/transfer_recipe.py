"""The `transfer:` section of a recipe: which model a run begins with, and how much of it learns."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal, TypeAlias

from banyan.core.config import config
from banyan.core.errors import ConfigError
from banyan.model.adapters import LoraConfig
from banyan.tasks.config import TaskConfig
from banyan.transfer.vocabulary import GrowConfig

TransferMode: TypeAlias = Literal["full", "head", "continue"]


@config
class ReplayRecipe:
    """Old material mixed into the new, so that what the parent could do is not lost."""

    share: float = 0.1  # of the training rows; 0: nothing is replayed, and what is forgotten is only measured
    data: dict[str, str | list[str]] = dataclasses.field(default_factory=dict)  # task of the parent → its rows
    generated: int = 0  # texts that the parent writes, to be learned as language modelling
    max_new_tokens: int = 128  # of a generated text
    held_out: str | list[str] | None = None  # old texts nobody learns from: bits per byte on them, before and after

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise ConfigError(
                f"transfer.replay.share={self.share} must be at least 0 and below 1: it is a part of the training "
                "rows.",
                hint="0.1 is a good beginning",
            )
        if self.generated < 0 or self.max_new_tokens < 1:
            raise ConfigError(
                f"transfer.replay.generated={self.generated} must be 0 or more, and max_new_tokens="
                f"{self.max_new_tokens} 1 or more."
            )
        if self.share and not self.data and not self.generated:
            raise ConfigError(
                f"transfer.replay.share={self.share} has nothing to mix in: neither data nor generated is given.",
                hint="name rows of the parent's tasks, data: {task: file}, or a number of texts, generated: 200",
            )


@config
class TransferRecipe:
    """How a run begins with the weights of another model. Without a parent, all weights are fresh."""

    parent: str | None = None  # a model directory, or a run: then its best checkpoint
    parent_sha256: str | None = None  # of its manifest; filled in when the run begins
    mode: TransferMode = "full"
    keep_tasks: bool = True  # the parent's other tasks stay answerable
    last_blocks: int = 0  # head: how many of the last blocks learn as well
    cache: Literal["float32", "bfloat16"] = "float32"  # head: how the features of the frozen part are kept
    layer_decay: float = 1.0  # full, continue: each layer below learns this factor slower
    unfreeze_every: int = 0  # full, continue: one more block from the top every so many steps; 0: all from the start
    lora: LoraConfig | None = None  # an adapter learns in place of the weights that would; null: they learn themselves
    grow_vocabulary: GrowConfig | None = None  # more tokens than the parent has
    retokenize: str | None = None  # a tokenizer.json, or the folder it lies in, to move to
    replay: ReplayRecipe | None = None

    def __post_init__(self) -> None:
        if self.parent is None:
            self._refuse_without_parent()
        if not 0 < self.layer_decay <= 1:
            raise ConfigError(
                f"transfer.layer_decay={self.layer_decay} must be above 0 and at most 1: it multiplies the learning "
                "rate from one layer to the one below.",
                hint="0.8 to 0.95 is usual; 1.0 lets all layers learn alike",
            )
        for name in ("last_blocks", "unfreeze_every"):
            if getattr(self, name) < 0:
                raise ConfigError(f"transfer.{name}={getattr(self, name)} must be 0 or more.")
        self._check_mode()
        self._check_adapter()

    def _refuse_without_parent(self) -> None:
        given = [f.name for f in dataclasses.fields(self) if f.name != "parent" and getattr(self, f.name) != f.default]
        if given:
            raise ConfigError(
                f"transfer.{given[0]}={getattr(self, given[0])!r} asks for a parent, and transfer.parent is not given.",
                hint="name a model directory: transfer.parent=runs/prose/best",
            )

    def _check_mode(self) -> None:
        if self.mode == "head" and (self.layer_decay != 1 or self.unfreeze_every):
            raise ConfigError(
                f"transfer.mode=head does not go together with transfer.layer_decay={self.layer_decay} and "
                f"transfer.unfreeze_every={self.unfreeze_every}: the trunk stays as it is.",
                hint="use transfer.mode=full for them, or transfer.last_blocks to let some blocks learn",
            )
        if self.mode != "head" and self.last_blocks:
            raise ConfigError(
                f"transfer.last_blocks={self.last_blocks} is for transfer.mode=head; with mode={self.mode} every "
                "block learns.",
                hint="set transfer.mode=head, or leave last_blocks out",
            )
        self._check_vocabulary()
        if self.mode == "continue" and not self.keep_tasks:
            raise ConfigError(
                "transfer.mode=continue keeps the parent's tasks for what follows; transfer.keep_tasks=false does not "
                "go together with it.",
                hint="use transfer.mode=full to drop them",
            )

    def _check_adapter(self) -> None:
        if self.lora is None or self.mode != "head":
            return
        if not self.last_blocks:
            raise ConfigError(
                "transfer.lora has nothing to lie beside with transfer.mode=head and last_blocks=0: only the heads "
                "learn.",
                hint="set transfer.last_blocks=1 or more, or use transfer.mode=full",
            )
        if self.lora.last_blocks not in (0, self.last_blocks):
            raise ConfigError(
                f"transfer.lora.last_blocks={self.lora.last_blocks} and transfer.last_blocks={self.last_blocks} name "
                "different blocks.",
                hint="leave transfer.lora.last_blocks out",
            )

    def _check_vocabulary(self) -> None:
        changes = {"grow_vocabulary": self.grow_vocabulary, "retokenize": self.retokenize}
        given = [f"transfer.{name}" for name, value in changes.items() if value is not None]
        if len(given) == 2:
            raise ConfigError(
                f"{given[0]} and {given[1]} both change the vocabulary; a run can do one of them.",
                hint="retokenize in this run, and grow in a second one that begins with it",
            )
        if given and self.lora is not None:
            raise ConfigError(
                f"{given[0]} gives the model new rows, and with transfer.lora only an adapter is kept.",
                hint="change the vocabulary in a first run, without transfer.lora",
            )


def check_tasks_of_mode(transfer: TransferRecipe, tasks: Sequence[TaskConfig]) -> None:
    """Make sure that a mode can teach the recipe's tasks.

    Raises: ConfigError.
    """
    for task in tasks:
        if transfer.mode == "continue" and task.kind != "language_modeling":
            raise ConfigError(
                f"transfer.mode=continue learns from raw text alone; task {task.name} is of kind {task.kind}.",
                hint="give it to a second run, with transfer.mode full or head and this run's best as its parent",
            )
