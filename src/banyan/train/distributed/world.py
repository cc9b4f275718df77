"""Joining the other processes of a run, and what they say to each other."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh

from banyan.core.errors import BanyanError, ConfigError, PeerLostError
from banyan.core.process import ProcessPlace
from banyan.data.batch import TrainableBatch
from banyan.model.transformer import Transformer
from banyan.train.distributed.config import ParallelConfig, ShardedCheckpoints
from banyan.train.distributed.divided import DATA, SHARD, TENSOR, DividedModel
from banyan.train.distributed.divided_optimizer import DividedOptimizer
from banyan.train.distributed.gradients import collect_divided, sum_gradients
from banyan.train.distributed.heartbeat import Heartbeat
from banyan.train.distributed.messages import broadcast_json
from banyan.train.distributed.pieces import InPieces
from banyan.train.distributed.reaching import reaching_losses
from banyan.train.distributed.rows import share_of
from banyan.train.division import Division, Undivided, WholeState
from banyan.train.losses import TaskLosses
from banyan.train.optimizer import ModelOptimizer, OptimizerConfig, build_optimizer
from banyan.train.ranks import ALONE, BatchT, Ranks, ValueT
from banyan.train.step import LossFunction

LARGE_BYTES = (
    4 << 30
)  # of weights: from here on their pieces are written where they lie, unless a recipe says otherwise
_LONG_WAIT = timedelta(hours=24)  # while the main rank reads data, evaluates or saves; its death is noticed at once
_PLACE = re.compile(r"^\[[^\]]*\.\w+:\d+\] ")  # in the source of gloo
_WORDS_OF_A_LOST_PEER = ("gloo", "nccl", "connection closed", "connection reset", "timed out waiting")


class ProcessRanks:
    """The ranks of a run as one of them sees the others, through PyTorch's process groups."""

    def __init__(
        self,
        place: ProcessPlace,
        *,
        sizes: tuple[int, int, int],
        device: torch.device,
        heartbeat: Heartbeat,
        sharded_checkpoints: ShardedCheckpoints = "auto",
    ) -> None:
        self.rank = place.rank
        self.world_size = place.world_size
        self._num_data, self._num_shard, self._num_tensor = sizes
        self._device = device
        self._sharded_checkpoints = sharded_checkpoints
        self._divided: DividedModel | None = None
        self._heartbeat = heartbeat
        self._patient = dist.new_group(backend="gloo", timeout=_LONG_WAIT)

    @property
    def is_main(self) -> bool:
        """Whether this process writes the run's files and speaks to the user."""
        return self.rank == 0

    @property
    def is_model_divided(self) -> bool:
        """Whether each rank holds only a part of the weights."""
        return self._divided is not None

    def own_rows(self, batch: BatchT) -> BatchT:
        """Return this rank's share of a micro-batch's rows."""
        num_shares = self._num_data * self._num_shard
        return share_of(batch, share=self.rank // self._num_tensor, num_shares=num_shares)

    def own_losses(self, loss_function: LossFunction, model: nn.Module, batch: TrainableBatch) -> TaskLosses:
        """Return the losses of this rank's rows, connected to all that the ranks exchange gradients of."""
        return reaching_losses(loss_function, model, self.own_rows(batch))

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over all shares of a batch; the same bits on every rank."""
        total = values.clone()
        dist.all_reduce(total)
        return total / self._num_tensor  # ranks that divide the matrices of a block bring the same

    def collect_gradients(self, model: nn.Module) -> tuple[list[Tensor], Tensor]:
        """Sum the gradients over all shares; return them and their common length."""
        if self._divided is not None:
            return collect_divided(self._divided)
        gradients = sum_gradients([p for p in model.parameters() if p.requires_grad])
        return gradients, nn.utils.get_total_norm(gradients)

    def largest(self, number: int) -> int:
        """Return the largest of the numbers that the ranks bring."""
        value = torch.tensor([number])
        dist.all_reduce(value, dist.ReduceOp.MAX)
        return int(value)

    def any(self, flag: bool) -> bool:
        """Return whether the flag is up on any rank."""
        return self.largest(int(flag)) > 0

    def watched_step(self) -> AbstractContextManager[None]:
        """Give a block that is one step; a rank that hangs in it falls silent."""
        return self._heartbeat.step()

    def barrier(self) -> None:
        """Wait for all ranks, however long one of them works."""
        dist.barrier(group=self._patient)

    def from_main(self, work: Callable[[], ValueT]) -> ValueT:
        """Do some work on the main rank alone and return its result on every rank."""
        value = work() if self.is_main else None
        return cast(ValueT, broadcast_json(value, src=0, group=self._patient))

    def divide(self, model: nn.Module) -> None:
        """Divide a model's weights among the ranks, where they are to be divided; in place.

        Raises: ConfigError if the model cannot be divided so.
        """
        if self._num_shard * self._num_tensor == 1:
            return
        if not isinstance(model, Transformer):
            raise ConfigError(
                f"parallel.shard={self._num_shard} tensor={self._num_tensor} divide a Transformer; "
                f"this run trains a {type(model).__name__}.",
                hint="leave them at 1: every rank then holds the whole model",
            )
        if model.adapters:
            raise ConfigError(
                f"parallel.shard={self._num_shard} tensor={self._num_tensor} divide whole matrices, and this run "
                "teaches an adapter beside them.",
                hint="leave them at 1: every rank then holds the whole model, of which little learns",
            )
        sizes = (self._num_data, self._num_shard, self._num_tensor)
        logging.getLogger("torch.distributed.tensor._redistribute").setLevel(logging.ERROR)  # of two gathers in a row
        mesh = init_device_mesh(self._device.type, sizes, mesh_dim_names=(DATA, SHARD, TENSOR))
        self._divided = DividedModel(model, mesh)

    def optimizer_of(self, model: nn.Module, optimizer: OptimizerConfig) -> ModelOptimizer:
        """Return the optimizer of a model, divided or not."""
        if self._divided is None:
            return build_optimizer(model, optimizer)
        return DividedOptimizer(self._divided, optimizer)

    def whole_model(self, model: nn.Module) -> nn.Module:
        """Return the undivided model, on rank 0 with its weights."""
        if self._divided is None:
            return model
        whole = self._divided.whole_model()
        return whole.to(self._device) if self.is_main else whole

    def division_of(self, model: nn.Module, optimizer: ModelOptimizer) -> Division:
        """Return how model and optimizer lie on the ranks."""
        if self._divided is None or not isinstance(optimizer, DividedOptimizer):
            return Undivided(state=WholeState(model=model, optimizer=optimizer))
        size = sum(weight.numel() * weight.element_size() for weight in self._divided.parameters.values())
        asked = self._sharded_checkpoints
        writes_shards = size >= LARGE_BYTES if asked == "auto" else asked
        return InPieces(self._divided, optimizer, writes_shards=writes_shards)


def own_device(device: torch.device, place: ProcessPlace) -> torch.device:
    """Return this process's own GPU where several processes share the machine's."""
    if device.type != "cuda" or place.world_size == 1:
        return device
    torch.cuda.set_device(place.local_rank)
    return torch.device("cuda", place.local_rank)


@contextmanager
def joined_ranks(place: ProcessPlace, *, config: ParallelConfig, device: torch.device) -> Iterator[Ranks]:
    """Join the other processes while the block runs; one process alone joins nobody.

    Raises: ConfigError if the axes do not make up all processes; PeerLostError if another process is lost meanwhile.
    """
    sizes = config.sizes(place.world_size)
    heartbeat = Heartbeat(place.heartbeats, rank=place.rank)
    if place.world_size == 1:
        yield ALONE
        return
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    with named_losses_of_peers(place.rank):
        dist.init_process_group(backend, timeout=timedelta(seconds=config.timeout_seconds))
        try:
            yield ProcessRanks(
                place,
                sizes=sizes,
                device=device,
                heartbeat=heartbeat,
                sharded_checkpoints=config.sharded_checkpoints,
            )
        finally:
            dist.destroy_process_group()


def _in_short(error: Exception) -> str:
    return _PLACE.sub("", " ".join(str(error).split()))[:120]


@contextmanager
def named_losses_of_peers(rank: int) -> Iterator[None]:
    """Turn PyTorch's words for a process that does not answer into ours.

    Raises: PeerLostError.
    """
    try:
        yield
    except BanyanError:
        raise
    except RuntimeError as error:
        words = str(error).lower()
        if isinstance(error, dist.DistError) or any(word in words for word in _WORDS_OF_A_LOST_PEER):
            raise PeerLostError(
                f"rank {rank} can no longer reach the others: {_in_short(error)}",
                hint="a launcher that may restart starts all ranks anew, from the newest checkpoint",
            ) from error
        raise
