"""Batches of pictures are cut, moved and resumed without a picture lost or changed in what it shows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from banyan.core.errors import ConfigError, DataError
from banyan.data.image_batch import PictureAugmentation, PictureLoader

PIXELS = torch.arange(7 * 16, dtype=torch.uint8).view(7, 1, 4, 4)


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


def test_what_cannot_be_streamed_is_refused() -> None:
    with pytest.raises(DataError, match="no pictures"):
        PictureLoader(
            PIXELS[:0], PIXELS[:0], rows_per_batch=1, first_batches=(0,), augmentation=PictureAugmentation(), seed=0
        )
    with pytest.raises(ConfigError, match="crop_pixels=-1"):
        PictureAugmentation(crop_pixels=-1)
