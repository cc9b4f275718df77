"""How the processes of one run share the work."""

from __future__ import annotations

from typing import Literal, TypeAlias

from banyan.core.config import config
from banyan.core.errors import ConfigError

ShardedCheckpoints: TypeAlias = Literal["auto"] | bool  # YAML reads on and off as true and false


@config
class ParallelConfig:
    """Along which axes the processes are laid out. What they compute together does not depend on it.

    Ranks along `data` hold the same weights and share the rows of a batch; along `shard` they share the rows and
    divide weights, gradients and optimizer state too (FSDP2); along `tensor` they divide the matrices of each block
    and work on the same rows.
    """

    data: int | None = None  # ranks; null: what the other two leave
    shard: int = 1  # ranks
    tensor: int = 1  # ranks
    sharded_checkpoints: ShardedCheckpoints = "auto"  # auto: where weights are divided and large
    timeout_seconds: float = 60.0  # a rank waits for the others inside a step; longer, and they count as lost

    def __post_init__(self) -> None:
        for name in ("data", "shard", "tensor"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"parallel.{name}={value} must be 1 or more.")
        if self.timeout_seconds <= 0:
            raise ConfigError(f"parallel.timeout_seconds={self.timeout_seconds} must be above 0.")

    def sizes(self, world_size: int) -> tuple[int, int, int]:
        """Return the ranks along data, shard and tensor.

        Raises: ConfigError if they do not make up all processes.
        """
        divided = self.shard * self.tensor
        data = self.data if self.data is not None else max(1, world_size // divided)
        if data * divided != world_size:
            given = f"parallel.data={data} x shard={self.shard} x tensor={self.tensor}"
            raise ConfigError(
                f"{given} is {data * divided} processes, but there are {world_size}; the product must be their number.",
                hint=f"start {data * divided} processes, or leave parallel.data out",
            )
        return data, self.shard, self.tensor
