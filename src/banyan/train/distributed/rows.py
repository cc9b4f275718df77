"""Which rows of a batch are whose."""

from __future__ import annotations

from banyan.core.errors import ConfigError
from banyan.train.ranks import BatchT


def share_of(batch: BatchT, *, share: int, num_shares: int) -> BatchT:
    """Return one share of a batch's rows; the first ones may have a row more.

    Raises: ConfigError if there are fewer rows than shares.
    """
    shares = batch.split(num_shares)
    if len(shares) < num_shares:
        raise ConfigError(
            f"a micro-batch of {len(shares)} rows cannot be shared by {num_shares} ranks; each needs a row.",
            hint=f"set train.micro_batch_seqs to {num_shares} or more, and train.accumulation_steps as much lower",
        )
    return shares[share]
