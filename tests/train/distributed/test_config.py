import pytest

from banyan.core.errors import ConfigError
from banyan.train.distributed.config import ParallelConfig


@pytest.mark.parametrize(
    ("config", "world_size", "sizes"),
    [
        (ParallelConfig(), 4, (4, 1, 1)),
        (ParallelConfig(shard=2), 8, (4, 2, 1)),
        (ParallelConfig(shard=2, tensor=2), 4, (1, 2, 2)),
        (ParallelConfig(data=2, tensor=2), 4, (2, 1, 2)),
    ],
)
def test_ranks_that_are_not_asked_for_share_the_rows(
    config: ParallelConfig, world_size: int, sizes: tuple[int, int, int]
) -> None:
    assert config.sizes(world_size) == sizes


@pytest.mark.parametrize(("config", "world_size"), [(ParallelConfig(data=2), 4), (ParallelConfig(shard=3), 4)])
def test_axes_that_do_not_make_up_all_processes_are_refused(config: ParallelConfig, world_size: int) -> None:
    with pytest.raises(ConfigError, match=r"there are 4"):
        config.sizes(world_size)


@pytest.mark.parametrize("changes", [{"data": 0}, {"shard": 0}, {"tensor": -1}, {"timeout_seconds": 0.0}])
def test_sizes_below_one_are_refused(changes: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(changes))):
        ParallelConfig(**changes)  # type: ignore[arg-type]
