"""What a run may vary each time it learns an example, checked against the rest of its recipe."""

from __future__ import annotations

from collections.abc import Sequence

from banyan.core.errors import ConfigError
from banyan.tasks.config import TaskConfig
from banyan.train.config import TrainConfig
from banyan.train.distributed.config import ParallelConfig
from banyan.workflows.transfer_recipe import TransferRecipe


def check_noise(train: TrainConfig, transfer: TransferRecipe, parallel: ParallelConfig) -> None:
    """Make sure that R-Drop and embedding noise reach what learns.

    Raises: ConfigError.
    """
    given = {"train.r_drop": train.r_drop, "train.embedding_noise": train.embedding_noise}
    if transfer.mode == "head" and (key := next((key for key, value in given.items() if value), None)):
        raise ConfigError(
            f"{key}={given[key]} varies what the whole model computes, and with transfer.mode=head its frozen part is "
            "computed once.",
            hint=f"leave {key} out, or use transfer.mode=full",
        )
    if train.r_drop and parallel.shard * parallel.tensor > 1:
        raise ConfigError(
            f"train.r_drop={train.r_drop} does not go together with parallel.shard={parallel.shard} and "
            f"parallel.tensor={parallel.tensor}: it needs the whole output layer in the backward pass.",
            hint="leave both at 1 and use parallel.data",
        )


def check_wordings(tasks: Sequence[TaskConfig], transfer: TransferRecipe) -> None:
    """Make sure that what augments the tasks has a model to ask where it needs one, and reaches what learns.

    Raises: ConfigError.
    """
    for task in tasks:
        if task.augment is None:
            continue
        if transfer.mode == "head":
            raise ConfigError(
                f"task {task.name}: augment words examples anew each time, and with transfer.mode=head what the frozen "
                "part makes of them is computed once.",
                hint="leave augment out, or use transfer.mode=full",
            )
        if task.augment.needs_model and task.augment.model is None and transfer.parent is None:
            raise ConfigError(
                f"task {task.name}: augment asks a model for neighbours or translations, and none is named.",
                hint="set augment.model to a model directory or a run; with transfer.parent that is asked",
            )
        if task.augment.back_translation and task.augment.pivot is None and task.kind != "translation":
            raise ConfigError(
                f"task {task.name}: augment.back_translation={task.augment.back_translation} needs a language to go "
                "through.",
                hint="name the direction there, such as augment.pivot: en>de; the model must translate both ways",
            )
