"""The scores of a picture tokenizer are those of its decoded 8-bit pictures."""

from __future__ import annotations

import io
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from banyan.model.vision.autoencoder import AutoencoderConfig, as_pixels, as_samples
from banyan.model.vision.learner import TokenizerLearner
from banyan.testing.pictures import tiny_pictures
from banyan.train.evaluations import EvaluationStopped
from banyan.workflows.picture_tokenizer.scoring import TokenizerEvaluator, psnr_of, score_reconstructions

PIXELS = torch.from_numpy(tiny_pictures(300)).permute(0, 3, 1, 2).contiguous()


@pytest.fixture(scope="module")
def learner() -> TokenizerLearner:
    torch.manual_seed(0)
    sizes = AutoencoderConfig(image_size=8, channels=1, levels=(4, 4), widths=(8, 8))
    return TokenizerLearner(sizes, num_labels=0, has_features=False, has_discriminator=False)


def test_scores_agree_with_a_plain_count(learner: TokenizerLearner) -> None:
    net = learner.autoencoder
    scores = score_reconstructions(net, PIXELS)
    codes = net.encode(as_samples(PIXELS))
    decoded = as_pixels(net.decode(codes)).numpy().astype(np.float64)
    error = np.square(decoded - PIXELS.numpy().astype(np.float64)).mean()
    counts = Counter(codes.flatten().tolist())
    entropy = -sum(n / codes.numel() * math.log(n / codes.numel()) for n in counts.values())
    assert scores.psnr == pytest.approx(20 * math.log10(255) - 10 * math.log10(error), abs=1e-3)
    assert scores.code_use == len(counts) / 16
    assert scores.perplexity == pytest.approx(math.exp(entropy), rel=1e-4)


def test_the_ratio_of_half_the_range_is_six_decibels_and_of_no_error_endless() -> None:
    assert psnr_of(127.5**2) == pytest.approx(6.0206, abs=1e-4)
    assert psnr_of(0.0) == math.inf


def test_a_sheet_shows_each_row_above_what_comes_back_of_it(learner: TokenizerLearner, tmp_path: Path) -> None:
    metrics = TokenizerEvaluator(PIXELS, tmp_path, num_shown=16)(learner, 7)
    assert metrics["score"] == metrics["psnr"]
    sheet = np.asarray(Pillow.open(io.BytesIO((tmp_path / "samples/step-00000007-reconstructions.png").read_bytes())))
    assert sheet.shape == (4 * 65 + 1, 8 * 65 + 1)  # 2 rows of 8, twice; each 8×8 picture enlarged 8 times
    np.testing.assert_array_equal(sheet[1:65:8, 1:65:8], PIXELS[0, 0].numpy())
    back = as_pixels(learner.autoencoder.decode(learner.autoencoder.encode(as_samples(PIXELS[:1]))))
    np.testing.assert_array_equal(sheet[66:130:8, 1:65:8], back[0, 0].numpy())


def test_scores_that_nobody_wants_are_given_up_after_the_pictures_of_one_pass(
    learner: TokenizerLearner, tmp_path: Path
) -> None:
    looks: list[bool] = []

    def is_unwanted() -> bool:
        looks.append(True)
        return True

    with pytest.raises(EvaluationStopped):
        TokenizerEvaluator(PIXELS, tmp_path, num_shown=16, is_unwanted=is_unwanted)(learner, 7)
    assert len(looks) == 1 and not list(tmp_path.iterdir())
