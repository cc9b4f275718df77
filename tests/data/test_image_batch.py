"""Batches of pictures are cut, moved and resumed without a picture lost or changed in what it shows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from banyan.core.errors import ConfigError, DataError
from banyan.data.image_batch import PictureAugmentation, PictureLoader

PIXELS = torch.arange(7 * 16, dtype=torch.uint8).view(7, 1, 4, 4)


SHAPES = {"turn_degrees": 7.5, "scale_share": 0.08, "shear_share": 0.12, "warp_pixels": 0.6}


def loader(**augment: int) -> PictureLoader:
    return PictureLoader(
        PIXELS,
        torch.arange(7),
        rows_per_batch=3,
        first_batches=(0, 2),
        augmentation=PictureAugmentation(**augment),  # type: ignore[arg-type]
        seed=1,
    )


def test_every_epoch_shows_every_picture_once_in_another_order() -> None:
    stream = loader()
    labels = torch.cat([stream.next_batch().labels for _ in range(7)]).tolist()
    epochs = [labels[start : start + 7] for start in (0, 7, 14)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_a_stream_goes_on_where_its_state_was_taken() -> None:
    stream, other = loader(flip=True, crop_pixels=1), loader(flip=True, crop_pixels=1)
    for _ in range(4):
        stream.next_batch()
    other.restore(stream.state())
    for _ in range(3):
        here, there = stream.next_batch(), other.next_batch()
        assert torch.equal(here.pixels, there.pixels) and torch.equal(here.labels, there.labels)


def test_parts_of_the_loss_come_in_with_their_batch() -> None:
    stream = loader()
    assert [stream.next_batch().terms for _ in range(3)] == [(0,), (0,), (0, 1)]


def test_a_split_batch_holds_the_same_pictures() -> None:
    batch = loader().next_batch(num_rows=5)
    parts = batch.split(2)
    assert [part.num_targets for part in parts] == [3, 2]
    assert torch.equal(torch.cat([part.pixels for part in parts]), batch.pixels)
    assert len(batch.split(9)) == 5
    assert batch.weights_by_task(2).tolist() == [5, 0]


def test_a_moved_picture_repeats_its_edge() -> None:
    moved = PictureAugmentation(crop_pixels=1).apply(PIXELS[:1].expand(64, 1, 4, 4), np.random.default_rng(0))
    padded = np.pad(PIXELS[0, 0].numpy(), 1, mode="edge")
    windows = {padded[top : top + 4, left : left + 4].tobytes() for top in range(3) for left in range(3)}
    assert {picture.numpy().tobytes() for picture in moved} == windows


def test_a_picture_is_mirrored_half_of_the_time_and_only_where_asked() -> None:
    many = PIXELS[:1].expand(64, 1, 4, 4)
    assert torch.equal(PictureAugmentation().apply(many, np.random.default_rng(0)), many)
    made = PictureAugmentation(flip=True).apply(many, np.random.default_rng(0))
    is_same, is_mirrored = ((made == one).all(dim=(1, 2, 3)) for one in (many, many.flip(3)))
    assert bool((is_same ^ is_mirrored).all()) and 16 < int(is_mirrored.sum()) < 48


@pytest.mark.parametrize("name", SHAPES)
def test_a_reshaped_picture_is_another_one_that_looks_like_it(name: str) -> None:
    picture = torch.zeros(1, 1, 28, 28, dtype=torch.uint8)
    picture[:, :, 4:24, 12:16], picture[:, :, 4:8, 12:22] = 255, 255  # upright, with a bar to the right at its top
    augmentation = PictureAugmentation(**{name: SHAPES[name]})
    made = augmentation.apply(picture.expand(64, 1, 28, 28), np.random.default_rng(0))
    assert len({one.numpy().tobytes() for one in made}) > 60 and made.dtype == torch.uint8
    flat = torch.cat([picture, picture.flip(3), made]).flatten(1).double()
    likeness = torch.corrcoef(flat)
    assert float(likeness[2:, 0].min()) > 0.5 and bool((likeness[2:, 0] > likeness[2:, 1]).all())
    again = augmentation.apply(picture.expand(64, 1, 28, 28), np.random.default_rng(0))
    assert torch.equal(made, again)


def test_reshaping_moves_by_as_much_as_is_asked_and_brings_in_nothing_new() -> None:
    even = torch.full((8, 3, 28, 28), 77, dtype=torch.uint8)
    assert torch.equal(PictureAugmentation(**SHAPES).apply(even, np.random.default_rng(0)), even)  # type: ignore[arg-type]
    slope = torch.arange(28, dtype=torch.uint8).mul(9).expand(400, 1, 28, 28)
    bent = PictureAugmentation(warp_pixels=0.5).apply(slope, np.random.default_rng(0))
    inside = (bent.double() - slope.double())[:, :, 4:-4, 4:-4] / 9  # pixels that each point was moved sideways
    assert float(inside.std()) == pytest.approx(0.5, abs=0.05)
    assert float((inside[..., 1:] - inside[..., :-1]).std()) < 0.25  # neighbours move nearly alike
    turned = PictureAugmentation(turn_degrees=90).apply(slope, np.random.default_rng(0)).double()
    rises = turned[:, 0, 14, 15] - turned[:, 0, 14, 12]  # 27 where nothing was turned, 0 where a quarter was
    assert float(rises.min()) >= -3 and float(rises.max()) <= 28 and 15 < float(rises.mean()) < 19.5  # 27 · 2 / π


def test_what_cannot_be_streamed_is_refused() -> None:
    with pytest.raises(DataError, match="no pictures"):
        PictureLoader(
            PIXELS[:0], PIXELS[:0], rows_per_batch=1, first_batches=(0,), augmentation=PictureAugmentation(), seed=0
        )
    with pytest.raises(ConfigError, match="crop_pixels=-1"):
        PictureAugmentation(crop_pixels=-1)
    with pytest.raises(ConfigError, match="scale_share=0.9 must lie between 0 and 0.5"):
        PictureAugmentation(scale_share=0.9)
