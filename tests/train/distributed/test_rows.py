import pytest
import torch

from banyan.core.errors import ConfigError
from banyan.testing.training import tiny_batch
from banyan.train.distributed.rows import share_of


@pytest.mark.parametrize("num_shares", [1, 2, 3, 5])
def test_the_shares_together_are_the_batch_in_order(num_shares: int) -> None:
    batch = tiny_batch(num_rows=5)
    shares = [share_of(batch, share=share, num_shares=num_shares) for share in range(num_shares)]
    assert torch.equal(torch.cat([share.token_ids for share in shares]), batch.token_ids)
    assert max(len(s.token_ids) for s in shares) - min(len(s.token_ids) for s in shares) <= 1


def test_fewer_rows_than_ranks_are_refused() -> None:
    with pytest.raises(ConfigError, match="2 rows cannot be shared by 3 ranks"):
        share_of(tiny_batch(num_rows=2), share=0, num_shares=3)
