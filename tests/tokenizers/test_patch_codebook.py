from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits

from banyan.core.errors import CheckpointError, ConfigError, DataError, InputError
from banyan.core.types import Image
from banyan.tokenizers.patch_codebook import PatchCodebook
from banyan.tokenizers.pictures import image_from_array, image_to_array


def _digits(count: int) -> list[Image]:
    return [image_from_array((array * 15.9375).astype(np.uint8)) for array in load_digits().images[:count]]


def _error(images: list[Image], tokenizer: PatchCodebook) -> float:
    """Mean squared error of a patch, summed over its pixels."""
    before, after = (
        np.stack([image_to_array(i) for i in s]).astype(float)
        for s in (images, tokenizer.decode(tokenizer.encode(images)))
    )
    return float(((before - after) ** 2).mean() * tokenizer.patch_size**2)


def test_a_picture_made_of_codebook_patches_comes_back_exactly() -> None:
    tiles = [np.full((2, 2), value, dtype=np.uint8) for value in (0, 60, 120, 255)]
    picture = image_from_array(np.block([[tiles[0], tiles[1]], [tiles[2], tiles[3]]]))
    tokenizer = PatchCodebook.train([picture], patch_size=2, num_codes=4, seed=0)
    assert tokenizer.encode([picture]) == [(0, 1, 2, 3)]
    assert tokenizer.decode([(0, 1, 2, 3)]) == [picture]


def test_colours_keep_their_channels() -> None:
    picture = image_from_array(np.random.default_rng(1).integers(0, 256, (4, 4, 3), dtype=np.uint8))
    tokenizer = PatchCodebook.train([picture], patch_size=2, num_codes=4, seed=0)
    assert tokenizer.decode(tokenizer.encode([picture])) == [picture]


def test_the_codebook_is_about_as_good_as_scikit_learns() -> None:
    images = _digits(200)
    tokenizer = PatchCodebook.train(images, patch_size=2, num_codes=32, seed=0)
    pixels = np.stack([image_to_array(image)[:, :, 0] for image in images]).astype(float)
    patches = pixels.reshape(200, 4, 2, 4, 2).transpose(0, 1, 3, 2, 4).reshape(-1, 4)
    theirs = KMeans(32, n_init=1, random_state=0).fit(patches).inertia_ / len(patches)
    assert _error(images, tokenizer) < 1.15 * theirs


def test_more_codes_draw_closer_pictures() -> None:
    images = _digits(100)
    errors = [_error(images, PatchCodebook.train(images, patch_size=2, num_codes=n, seed=0)) for n in (4, 16, 64)]
    assert errors == sorted(errors, reverse=True)


def test_the_same_seed_gives_the_same_codebook() -> None:
    first, second = (PatchCodebook.train(_digits(50), patch_size=4, num_codes=8, seed=3) for _ in range(2))
    assert first.to_tensors()["codebook"].equal(second.to_tensors()["codebook"])


def test_what_cannot_be_learned_or_drawn_is_refused() -> None:
    images = _digits(3)
    with pytest.raises(DataError, match="no pictures"):
        PatchCodebook.train([], patch_size=2, num_codes=4, seed=0)
    with pytest.raises(ConfigError, match="3 pixels do not tile"):
        PatchCodebook.train(images, patch_size=3, num_codes=4, seed=0)
    with pytest.raises(DataError, match="different patches"):
        PatchCodebook.train(images, patch_size=2, num_codes=10_000, seed=0)
    tokenizer = PatchCodebook.train(images, patch_size=4, num_codes=4, seed=0)
    with pytest.raises(InputError, match="does not fit"):
        tokenizer.encode([image_from_array(np.zeros((4, 4), dtype=np.uint8))])
    with pytest.raises(InputError, match="4 codes from 0 to 3"):
        tokenizer.decode([(0, 1, 2, 4)])


def test_a_codebook_that_does_not_tile_its_picture_is_refused() -> None:
    tensors = PatchCodebook.train(_digits(3), patch_size=4, num_codes=4, seed=0).to_tensors()
    with pytest.raises(CheckpointError, match="does not tile"):
        PatchCodebook.from_tensors(tensors, image_size=10, channels=1, settings={})
    with pytest.raises(CheckpointError, match="no usable codebook"):
        PatchCodebook.from_tensors({}, image_size=8, channels=1, settings={})
