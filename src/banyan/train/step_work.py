"""What the keys of a recipe change about a step: how often it computes each part, and what it holds at once."""

from __future__ import annotations

from dataclasses import dataclass

from banyan.train.config import TrainConfig

_LEARNING = 3  # forward passes that a forward and a backward pass cost
_LOGIT_COPIES = 2  # of one block of the output layer: the logits, and the log-probabilities that become their gradient
_DIVERGENCE_COPIES = 8  # of one block: R-Drop's two log-probabilities, probabilities, differences, and two gradients


@dataclass(frozen=True, kw_only=True, slots=True)
class StepWork:
    """One step of a recipe. A pass is a forward one; a backward pass counts as two."""

    block_passes: int = _LEARNING  # through the blocks, for every row of the batch
    output_passes: int = _LEARNING  # through the output layer, for every target of the batch
    num_backward: int = 1  # backward passes for each part of a batch
    row_copies: int = 1  # of every row that one pass computes at once
    logit_copies: int = _LOGIT_COPIES  # of the largest block of logits
    num_gradients: int = 1  # of the whole model that are held at once
    computes_blocks_twice: bool = False  # they keep their inputs alone
    moves_in_backward: bool = False  # a gradient is dropped once its weight has moved

    @property
    def repetition(self) -> float:
        """How often the blocks are computed, beside a step that is asked for nothing of this."""
        return self.block_passes / _LEARNING


PLAIN = StepWork()


def step_work(train: TrainConfig, *, num_groups: int = 1) -> StepWork:
    """Return what the steps of a recipe do; `num_groups` is the number of gradients that db_mtl compares.

    `low_memory` computes every block once more before its backward pass. `r_drop` computes every row twice, and the
    logits of what it compares once more in the backward pass. `famo` looks at the batch again after the update, without
    a backward pass. With `db_mtl` a row still belongs to one group, so that all groups together compute the batch once;
    their gradients are held side by side.
    """
    looks_again = 1 if train.balance.method == "famo" else 0
    row_copies = 2 if train.r_drop else 1
    of_blocks = _LEARNING + train.low_memory + looks_again
    of_outputs = _LEARNING + looks_again
    if train.r_drop:
        of_outputs += _LEARNING + 1 + looks_again  # the divergence: a product of its own, made anew before it is used
    return StepWork(
        block_passes=row_copies * of_blocks,
        output_passes=row_copies * of_outputs,
        num_backward=num_groups,
        row_copies=row_copies,
        logit_copies=_DIVERGENCE_COPIES if train.r_drop else _LOGIT_COPIES,
        num_gradients=num_groups,
        computes_blocks_twice=train.low_memory,
        moves_in_backward=train.update_in_backward,
    )
