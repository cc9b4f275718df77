"""Training the net that judges pictures: a few epochs of real pictures, moved about a little.

Apart from the trainer: a judge takes minutes, is never resumed, and is the only thing here that learns without tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from banyan.core.config import config
from banyan.core.errors import ConfigError
from banyan.data.image_batch import PictureAugmentation
from banyan.model.picture_judge import PictureJudge

_WARMUP = 0.05  # share of the steps
_READ_AT_ONCE = 256  # pictures


@config
class JudgeTraining:
    """How a judge is trained."""

    epochs: float = 8.0
    min_steps: int = 1  # however short the epochs are: a few hundred pictures need many of them
    batch_pictures: int = 128
    learning_rate: float = 2e-3  # at its highest; a cosine down to nothing
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    flips: bool = False  # learn mirrored pictures, too: not for digits and letters
    max_shift: int = 2  # pixels by which a picture is moved at most

    @property
    def augmentation(self) -> PictureAugmentation:
        """What may be done to a picture."""
        return PictureAugmentation(flip=self.flips, crop_pixels=self.max_shift)

    def __post_init__(self) -> None:
        rules = {
            "epochs": self.epochs > 0,
            "min_steps": self.min_steps >= 1,
            "batch_pictures": self.batch_pictures >= 1,
            "max_shift": self.max_shift >= 0,
        }
        rules |= {"learning_rate": self.learning_rate > 0, "label_smoothing": 0 <= self.label_smoothing < 1}
        if wrong := next((name for name, holds in rules.items() if not holds), None):
            raise ConfigError(f"training.{wrong}={getattr(self, wrong)} cannot be used for a judge of pictures.")


def train_judge(
    pixels_NCYX: Tensor,
    labels_N: Tensor,
    *,
    num_labels: int,
    width: int,
    how: JudgeTraining,
    seed: int,
    on_step: Callable[[int, int], None] = lambda step, steps: None,
) -> PictureJudge:
    """Return a judge of pictures; the same pictures and seed give the same one.

    Shapes: pixels (N, C, Y, X), uint8; labels (N,).
    """
    generator, augment = np.random.default_rng(seed), how.augmentation
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = PictureJudge(num_labels=num_labels, channels=pixels_NCYX.shape[1], width=width)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    net.train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=how.learning_rate, weight_decay=how.weight_decay)
    steps = max(how.min_steps, math.ceil(how.epochs * len(pixels_NCYX) / how.batch_pictures))
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = how.learning_rate * _rate(step / steps)
        chosen = generator.integers(len(pixels_NCYX), size=min(how.batch_pictures, len(pixels_NCYX)))
        seen = augment.apply(pixels_NCYX[chosen], generator)
        loss = F.cross_entropy(net(scaled(seen)), labels_N[chosen], label_smoothing=how.label_smoothing)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        on_step(step + 1, steps)
    net.eval()
    return net


def _rate(progress: float) -> float:
    return min(1.0, progress / _WARMUP + 1e-3) * 0.5 * (1 + math.cos(math.pi * progress))


def scaled(pixels_BCYX: Tensor) -> Tensor:
    """Return 8-bit samples as numbers from -1 to 1, laid out as convolutions read them fastest."""
    return (pixels_BCYX.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


@torch.inference_mode()
def judge_pictures(net: PictureJudge, pixels_NCYX: Tensor) -> tuple[Tensor, Tensor]:
    """Return the features and the label of each picture.

    Shapes: pixels (N, C, Y, X), uint8; returns (N, num_features) in float64, and (N,).
    """
    features, labels = [], []
    for start in range(0, len(pixels_NCYX), _READ_AT_ONCE):
        chunk = pixels_NCYX[start : start + _READ_AT_ONCE]
        own = net.features(scaled(chunk))
        features.append(own.double())
        labels.append(net.head(own).argmax(dim=1))
    return torch.cat(features), torch.cat(labels)
