"""What a run may vary each time it learns an example, checked against the rest of its recipe."""

from __future__ import annotations

from banyan.core.errors import ConfigError
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
