"""Joining the other processes of a run, and what they say to each other."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from banyan.core.errors import BanyanError, PeerLostError
from banyan.core.process import ProcessPlace
from banyan.train.distributed.config import ParallelConfig
from banyan.train.distributed.gradients import sum_gradients
from banyan.train.distributed.heartbeat import Heartbeat
from banyan.train.distributed.rows import share_of
from banyan.train.ranks import ALONE, BatchT, Ranks, ValueT

_LONG_WAIT = timedelta(hours=24)  # while the main rank reads data, evaluates or saves; its death is noticed at once
_LAST_PLACE = re.compile(r"^\[[^\]]*\.\w+:\d+\] ")  # in the source of gloo
_WORDS_OF_A_LOST_PEER = ("gloo", "nccl", "connection closed", "connection reset", "timed out waiting")


class ProcessRanks:
    """The ranks of a run as one of them sees the others, through PyTorch's process groups."""

    def __init__(self, place: ProcessPlace, *, num_shares: int, share: int, heartbeat: Heartbeat) -> None:
        self.rank = place.rank
        self.world_size = place.world_size
        self._share = share
        self._num_shares = num_shares
        self._heartbeat = heartbeat
        self._patient = dist.new_group(backend="gloo", timeout=_LONG_WAIT)

    @property
    def is_main(self) -> bool:
        """Whether this process writes the run's files and speaks to the user."""
        return self.rank == 0

    def own_rows(self, batch: BatchT) -> BatchT:
        """Return this rank's share of a micro-batch's rows."""
        return share_of(batch, share=self._share, num_shares=self._num_shares)

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over all shares of a batch; the same bits on every rank."""
        total = values.clone()
        dist.all_reduce(total)
        return total / (self.world_size // self._num_shares)  # ranks that hold parts of one model bring the same

    def collect_gradients(self, model: nn.Module) -> tuple[list[Tensor], Tensor]:
        """Sum the gradients over all shares; return them and their common length."""
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
        text = json.dumps(work()) if self.is_main else ""
        content = torch.tensor(list(text.encode()), dtype=torch.uint8)
        size = torch.tensor([len(content)])
        dist.broadcast(size, src=0, group=self._patient)
        content = content if self.is_main else torch.empty(int(size), dtype=torch.uint8)
        dist.broadcast(content, src=0, group=self._patient)
        return cast(ValueT, json.loads(bytes(content.tolist())))


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
    data, shard, tensor = config.sizes(place.world_size)
    heartbeat = Heartbeat(place.heartbeats, rank=place.rank)
    if place.world_size == 1:
        yield ALONE
        return
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    with named_losses_of_peers(place.rank):
        dist.init_process_group(backend, timeout=timedelta(seconds=config.timeout_seconds))
        try:
            yield ProcessRanks(place, num_shares=data * shard, share=place.rank // tensor, heartbeat=heartbeat)
        finally:
            dist.destroy_process_group()


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
                f"rank {rank} can no longer reach the others: {_LAST_PLACE.sub('', ' '.join(str(error).split()))[:120]}",
                hint="a launcher that may restart starts all ranks anew, from the newest checkpoint",
            ) from error
        raise
