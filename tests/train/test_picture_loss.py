"""The parts of a picture tokenizer's loss: each is what it says, and each net learns from its own alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from banyan.core.errors import ConfigError
from banyan.data.image_batch import ImageBatch
from banyan.model.vision.autoencoder import AutoencoderConfig, as_samples
from banyan.model.vision.learner import TokenizerLearner
from banyan.testing.pictures import tiny_pictures
from banyan.train.picture_loss import PictureLoss, PictureLossConfig

EVERYTHING = PictureLossConfig(perceptual=0.1, adversarial=0.1)


def learner(*, num_labels: int = 3, quantizer: str = "fsq") -> TokenizerLearner:
    torch.manual_seed(0)
    config = AutoencoderConfig(
        image_size=8,
        channels=1,
        quantizer="fsq" if quantizer == "fsq" else "vq",
        levels=(3, 3),
        num_codes=9,
        widths=(8,),
    )
    return TokenizerLearner(config, num_labels=num_labels, has_features=True, has_discriminator=True)


def batch(loss: PictureLoss) -> ImageBatch:
    pixels = torch.from_numpy(tiny_pictures(6)).permute(0, 3, 1, 2).contiguous()
    return ImageBatch(pixels=pixels, labels=torch.arange(6) % 3, terms=tuple(range(len(loss.names))))


def gradients(part: str) -> dict[str, bool]:
    """Which nets one part of the loss moves."""
    model, loss = learner(), PictureLoss(EVERYTHING, is_fsq=True)
    losses = loss(model, batch(loss))
    losses.loss_sums[loss.names.index(part)].backward()
    nets = {"autoencoder": model.autoencoder, "features": model.features, "discriminator": model.discriminator}
    return {
        name: any(p.grad is not None and bool(p.grad.any()) for p in net.parameters())
        for name, net in nets.items()
        if net is not None
    }


@pytest.mark.parametrize("part", ["pixels", "perceptual", "spread", "adversarial", "features", "discriminator"])
def test_each_net_learns_from_its_own_parts_alone(part: str) -> None:
    own = part if part in ("features", "discriminator") else "autoencoder"
    assert gradients(part) == {name: name == own for name in ("autoencoder", "features", "discriminator")}


def test_the_pixel_part_is_the_absolute_and_the_squared_difference() -> None:
    model, loss = learner(), PictureLoss(PictureLossConfig(perceptual=0, spread=0), is_fsq=True)
    pictures = batch(loss)
    real = as_samples(pictures.pixels)
    decoded = model.autoencoder(real)[0].detach().double().numpy()
    difference = decoded - real.double().numpy()
    expected = sum(np.abs(one).mean() + np.square(one).mean() for one in difference)
    losses = loss(model, pictures)
    assert loss.names == ("pixels",)
    assert losses.loss_sums.tolist() == pytest.approx([expected], rel=1e-5)
    assert losses.weight_sums.tolist() == [6]


def test_without_labels_the_feature_net_learns_how_pictures_are_turned() -> None:
    model, loss = learner(num_labels=0), PictureLoss(PictureLossConfig(), is_fsq=True)
    part = loss.names.index("features")
    optimizer = torch.optim.Adam(model.features.parameters() if model.features else [], lr=1e-2)
    course = []
    for _ in range(40):
        loss_sum = loss(model, batch(loss)).loss_sums[part]
        optimizer.zero_grad()
        loss_sum.backward()
        optimizer.step()
        course.append(float(loss_sum.detach()) / 6)
    assert course[0] == pytest.approx(1.0, abs=0.35)  # a guesser's
    assert course[-1] < 0.6 * course[0]


def test_a_part_that_does_not_count_yet_is_neither_computed_nor_weighed() -> None:
    loss = PictureLoss(EVERYTHING, is_fsq=True)
    assert loss.first_steps(100) == (0, 0, 0, 0, 40, 40)
    early = ImageBatch(**{**_fields(batch(loss)), "terms": (0, 1, 2, 3)})
    losses = loss(learner(), early)
    assert losses.loss_sums[4:].tolist() == losses.weight_sums[4:].tolist() == [0, 0]
    assert PictureLoss(EVERYTHING, is_fsq=False).names[3] == "commitment"


def _fields(pictures: ImageBatch) -> dict[str, object]:
    return {"pixels": pictures.pixels, "labels": pictures.labels}


def test_weights_that_mean_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"loss\.pixels=0\.0 must be above 0"):
        PictureLossConfig(pixels=0.0)
    with pytest.raises(ConfigError, match=r"loss\.spread=-1\.0"):
        PictureLossConfig(spread=-1.0)
    with pytest.raises(ConfigError, match=r"adversarial_start=1\.0"):
        PictureLossConfig(adversarial_start=1.0)
