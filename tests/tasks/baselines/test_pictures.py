from collections import Counter

import pytest

from banyan.tasks.baselines.pictures import unigram_codes
from banyan.tasks.image_generation import ImageGeneration, PictureExample

DRAW = ImageGeneration(name="draw", grid_size=2, num_codes=3)
TRAIN = [PictureExample(caption="x", codes=(0, 0, 0, 2))] * 50


def test_codes_come_as_often_as_in_the_training_pictures() -> None:
    predictions = unigram_codes(DRAW, TRAIN, seed=0)(TRAIN * 20)
    counts = Counter(code for prediction in predictions for code in prediction.image_codes or ())
    assert counts.total() == 4 * 1000
    assert counts[0] / 4000 == pytest.approx(0.75, abs=0.03)
    assert counts[1] / 4000 < 0.02


def test_the_same_seed_draws_the_same_pictures() -> None:
    first, again, other = (unigram_codes(DRAW, TRAIN, seed=seed)(TRAIN) for seed in (1, 1, 2))
    assert first == again
    assert first != other
