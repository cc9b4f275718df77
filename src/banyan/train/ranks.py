"""The processes that train one model together, as a step and its loop see them; one process alone is the plain case."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar

from torch import Tensor, nn

from banyan.data.batch import TrainableBatch
from banyan.train.division import Division, Undivided, WholeState
from banyan.train.losses import TaskLosses
from banyan.train.optimizer import ModelOptimizer, OptimizerConfig, build_optimizer

BatchT = TypeVar("BatchT", bound=TrainableBatch)
ValueT = TypeVar("ValueT")
LossOf: TypeAlias = Callable[[Any, Any], TaskLosses]  # (model, micro-batch) → the losses of its tasks, as sums


class Ranks(Protocol):
    """What a step and its loop need of the other processes. Every rank draws the same global batch.

    Methods are collective: every rank calls them, in the same order, except `own_rows` and `watched_step`.
    """

    @property
    def rank(self) -> int:
        """Number of this process, from 0."""
        ...

    @property
    def world_size(self) -> int:
        """Processes in all."""
        ...

    @property
    def is_main(self) -> bool:
        """Whether this process writes the run's files and speaks to the user."""
        ...

    @property
    def is_model_divided(self) -> bool:
        """Whether each rank holds only a part of the weights."""
        ...

    def own_rows(self, batch: BatchT) -> BatchT:
        """Return this rank's share of a micro-batch: at least a row, though perhaps one without a target."""
        ...

    def own_losses(self, loss_function: LossOf, model: nn.Module, batch: TrainableBatch) -> TaskLosses:
        """Return the losses of this rank's share of a micro-batch, ready to be differentiated."""
        ...

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over all shares of a batch; the same bits on every rank."""
        ...

    def collect_gradients(self, model: nn.Module) -> tuple[list[Tensor], Tensor]:
        """Sum the gradients over all shares; return the pieces that lie here, and the length of all of them together.

        A weight that no share has reached keeps no gradient.
        """
        ...

    def largest(self, number: int) -> int:
        """Return the largest of the numbers that the ranks bring."""
        ...

    def any(self, flag: bool) -> bool:
        """Return whether the flag is up on any rank."""
        ...

    def watched_step(self) -> AbstractContextManager[None]:
        """Give a block that is one step, so that a rank which hangs in it is found."""
        ...

    def barrier(self) -> None:
        """Wait for all ranks, however long one of them works."""
        ...

    def from_main(self, work: Callable[[], ValueT]) -> ValueT:
        """Do some work on the main rank alone and return its result, of plain JSON values, on every rank."""
        ...

    def divide(self, model: nn.Module) -> None:
        """Divide a model's weights among the ranks, in place, where the recipe says so."""
        ...

    def optimizer_of(self, model: nn.Module, optimizer: OptimizerConfig) -> ModelOptimizer:
        """Return the optimizer of a model, divided or not."""
        ...

    def whole_model(self, model: nn.Module) -> nn.Module:
        """Return the undivided model, on rank 0 with its weights."""
        ...

    def division_of(self, model: nn.Module, optimizer: ModelOptimizer) -> Division:
        """Return how a model and its optimizer lie on the ranks."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Alone:
    """One process that holds the whole model and the whole batch."""

    rank: int = 0
    world_size: int = 1
    is_main: bool = True
    is_model_divided: bool = False

    def own_rows(self, batch: BatchT) -> BatchT:
        """Return the whole batch."""
        return batch

    def own_losses(self, loss_function: LossOf, model: nn.Module, batch: TrainableBatch) -> TaskLosses:
        """Return the losses of the whole batch."""
        return loss_function(model, batch)

    def sum(self, values: Tensor) -> Tensor:
        """Return the values."""
        return values

    def collect_gradients(self, model: nn.Module) -> tuple[list[Tensor], Tensor]:
        """Return all gradients and their length."""
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        return gradients, nn.utils.get_total_norm(gradients)

    def largest(self, number: int) -> int:
        """Return the number."""
        return number

    def any(self, flag: bool) -> bool:
        """Return the flag."""
        return flag

    def watched_step(self) -> AbstractContextManager[None]:
        """Give a block that nobody watches."""
        return nullcontext()

    def barrier(self) -> None:
        """Wait for nobody."""

    def from_main(self, work: Callable[[], ValueT]) -> ValueT:
        """Do the work and return its result."""
        return work()

    def divide(self, model: nn.Module) -> None:
        """Leave the model as it is."""

    def optimizer_of(self, model: nn.Module, optimizer: OptimizerConfig) -> ModelOptimizer:
        """Return the optimizer of the model."""
        return build_optimizer(model, optimizer)

    def whole_model(self, model: nn.Module) -> nn.Module:
        """Return the model."""
        return model

    def division_of(self, model: nn.Module, optimizer: ModelOptimizer) -> Division:
        """Return that both are whole."""
        return Undivided(state=WholeState(model=model, optimizer=optimizer))


ALONE = Alone()


@contextmanager
def main_first(ranks: Ranks) -> Iterator[None]:
    """Run a block on the main rank, and on the others when it is done there and its files lie ready."""
    if not ranks.is_main:
        ranks.barrier()
    yield
    if ranks.is_main:
        ranks.barrier()
