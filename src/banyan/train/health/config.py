"""What the health watch of a run may do."""

from __future__ import annotations

from typing import Annotated

from banyan.core.config import config, renamed
from banyan.core.errors import ConfigError


@config
class HealthConfig:
    """What a run watches for, and which remedies it may use; without a remedy the signal is still reported.

    An update whose loss or gradient is not a number is never made, whatever stands here.
    """

    watch: bool = True  # false: no signals at all
    skip: bool = True  # leave out the update of a batch that does not fit the others
    rescale: bool = True  # shorten a gradient that is far longer than those before it
    rewind: bool = True  # go back to sound weights, with a lower learning rate, when the run diverges
    lower_rate: bool = True  # lower the learning rate when spikes keep coming, or the loss no longer falls
    shrink_scores: bool = True  # make attention scores smaller where they have grown; false: lower the learning rate
    stop: bool = True  # end a run that three rewinds did not cure, or whose data cannot be learned from
    probe_every: int = 8  # steps between two looks at every weight's gradient and update
    activation_probe_every: int = 50  # steps between two looks into the layers, on two rows of the batch
    noise_probe_every: int = 200  # steps between two looks at how noisy the gradient is, where batches have parts
    # Steps, where train.checkpoint_every is null: a run that diverges goes back to a checkpoint.
    max_checkpoint_interval: Annotated[int, renamed("max_checkpoint_interval", before="snapshot_every")] = 1000
    max_snapshot_bytes: int = 256 << 20  # memory for the first weights, to go back to before there is a checkpoint

    def __post_init__(self) -> None:
        for name in ("probe_every", "activation_probe_every", "noise_probe_every", "max_checkpoint_interval"):
            if getattr(self, name) < 1:
                raise ConfigError(f"train.health.{name}={getattr(self, name)} must be 1 or more.")
        if self.max_snapshot_bytes < 0:
            raise ConfigError(f"train.health.max_snapshot_bytes={self.max_snapshot_bytes} must be 0 or more.")

    def keeps_beginning(self, weight_bytes: int) -> bool:
        """Whether a run whose weights are so large keeps a copy of the first ones, to go back to."""
        return self.watch and self.rewind and weight_bytes <= self.max_snapshot_bytes
