"""The loss of a picture tokenizer, part by part: each is a task of the one loop, with its weight and its curve."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from banyan.core.config import config
from banyan.core.errors import ConfigError
from banyan.data.image_batch import ImageBatch
from banyan.model.vision.autoencoder import as_samples
from banyan.model.vision.features import feature_distance, frozen_call, quarter_turns
from banyan.model.vision.finite_scalar import FiniteScalarQuantizer
from banyan.model.vision.learner import TokenizerLearner
from banyan.model.vision.quantized import Quantized
from banyan.train.balance import TaskBalance
from banyan.train.losses import TaskLosses


@config
class PictureLossConfig:
    """How much each part of the loss counts; a part that counts 0 is not computed."""

    pixels: float = 1.0  # absolute and squared difference of all samples, from -1 to 1
    perceptual: float = 0.1  # difference in the features of a net that learns beside the tokenizer
    spread: float = 0.1  # fsq: how far the codes of a batch are from being used alike
    commitment: float = 0.25  # vq: how far latents lie from their codes
    adversarial: float = 0.0  # what a discriminator finds false, once `adversarial_start` of the steps are done
    adversarial_start: float = 0.4  # of all steps

    def __post_init__(self) -> None:
        for name in ("perceptual", "spread", "commitment", "adversarial"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"loss.{name}={getattr(self, name)} must be 0 or more.")
        if not 0 < self.pixels < math.inf:
            raise ConfigError(f"loss.pixels={self.pixels} must be above 0.")
        if not 0 <= self.adversarial_start < 1:
            raise ConfigError(f"loss.adversarial_start={self.adversarial_start} must be at least 0 and below 1.")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Pass:
    """What one forward pass made, for the parts of the loss to look at."""

    model: TokenizerLearner
    real: Tensor
    decoded: Tensor
    quantized: Quantized
    labels: Tensor


class PictureLoss:
    """The parts of the loss that a recipe asks for, in a fixed order."""

    def __init__(self, loss: PictureLossConfig, *, is_fsq: bool) -> None:
        self._config = loss
        weights = {
            "pixels": loss.pixels,
            "perceptual": loss.perceptual,
            "features": float(loss.perceptual > 0),
            "spread": loss.spread * is_fsq,
            "commitment": loss.commitment * (not is_fsq),
            "adversarial": loss.adversarial,
            "discriminator": float(loss.adversarial > 0),
        }
        self.weights = {name: weight for name, weight in weights.items() if weight > 0}

    @property
    def names(self) -> tuple[str, ...]:
        """The parts, as runs report them."""
        return tuple(self.weights)

    @property
    def balance(self) -> TaskBalance:
        """How the parts are weighed against each other."""
        return TaskBalance(scales=(1.0,) * len(self.weights), weights=tuple(self.weights.values()))

    def first_steps(self, num_steps: int) -> tuple[int, ...]:
        """Return after how many steps each part begins to count."""
        late = round(self._config.adversarial_start * num_steps)
        return tuple(late if name in ("adversarial", "discriminator") else 0 for name in self.weights)

    def __call__(self, model: TokenizerLearner, batch: ImageBatch) -> TaskLosses:
        """Return the parts that count for a batch, as sums over its pictures.

        One backward pass of their sum gives every net its own gradient: the judging nets see pictures that are
        detached, and what they say of decoded ones reaches the autoencoder alone.
        """
        placed = batch.to(next(model.parameters()).device)
        real = as_samples(placed.pixels)
        decoded, quantized = model.autoencoder(real)
        made = _Pass(model=model, real=real, decoded=decoded, quantized=quantized, labels=placed.labels)
        wanted = {self.names[term] for term in batch.terms}
        parts: dict[str, Tensor] = {}
        for names, compute in _PARTS.items():
            if wanted & {*names}:
                parts |= dict(zip(names, compute(made), strict=True))
        sums = [parts[name].sum() if name in wanted else real.new_zeros(()) for name in self.names]
        weights = placed.weights_by_task(len(self.names)).to(real.device)
        return TaskLosses(loss_sums=torch.stack(sums), weight_sums=weights)


def _pixel_part(made: _Pass) -> tuple[Tensor]:
    difference = made.decoded - made.real
    return ((difference.abs() + difference.square()).mean(dim=(1, 2, 3)),)


def _feature_parts(made: _Pass) -> tuple[Tensor, Tensor]:
    """How unlike the pictures look to the feature net, and how well that net tells real pictures apart."""
    net, num_labels = made.model.features, made.model.num_labels
    assert net is not None, "a learner has the nets that its loss needs"
    maps, logits = net(made.real)
    targets = made.labels
    if num_labels == 0:
        turned, targets = quarter_turns(made.real)
        logits = net(turned)[1]
    decoded_maps, _ = frozen_call(net, made.decoded)
    distance = feature_distance(decoded_maps, [level.detach() for level in maps])
    return distance, F.cross_entropy(logits, targets, reduction="none") / math.log(logits.shape[1])


def _spread_part(made: _Pass) -> tuple[Tensor]:
    quantizer = made.model.autoencoder.quantizer
    assert isinstance(quantizer, FiniteScalarQuantizer), "vector codes are spread by revival"
    return (quantizer.unevenness(made.quantized.latents).expand(len(made.real)),)


def _commitment_part(made: _Pass) -> tuple[Tensor]:
    return (made.quantized.commitment,)


def _adversarial_parts(made: _Pass) -> tuple[Tensor, Tensor]:
    """How sure the discriminator is that decoded pictures are decoded, and how often it is wrong itself.

    Source: Goodfellow et al. 2014, the non-saturating loss.
    """
    net = made.model.discriminator
    assert net is not None, "a learner has the nets that its loss needs"
    judged = frozen_call(net, made.decoded)
    own_real, own_decoded = net(made.real), net(made.decoded.detach())
    own = F.softplus(-own_real) + F.softplus(own_decoded)
    return F.softplus(-judged).mean(dim=(1, 2, 3)), own.mean(dim=(1, 2, 3))


_PARTS: Mapping[tuple[str, ...], Callable[[_Pass], tuple[Tensor, ...]]] = {
    ("pixels",): _pixel_part,
    ("perceptual", "features"): _feature_parts,
    ("spread",): _spread_part,
    ("commitment",): _commitment_part,
    ("adversarial", "discriminator"): _adversarial_parts,
}
