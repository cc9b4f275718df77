import math
from dataclasses import fields, replace

import numpy as np
import pytest

from banyan.core.errors import DataError
from banyan.runtime.loaded_model import LoadedModel
from banyan.runtime.loading import load
from banyan.tasks.image_generation import ImageGeneration, PictureExample
from banyan.tasks.metrics.pictures import frechet_distance
from banyan.tokenizers.pictures import image_to_array
from banyan.workflows.picture_judging import SavedJudge, Seen
from banyan.workflows.picture_measures import (
    Unmeasured,
    accuracy_score,
    bits_per_code,
    copies,
    fidelity,
    images_of,
    retrieval,
    unigram_bits,
    unseen,
)
from banyan.workflows.picture_scores import PictureReport, score_pictures, warning_of_copies
from banyan.workflows.real_pictures import RealPictures
from banyan.workflows.reporter import SilentReporter
from banyan.workflows.training import TrainingOutcome

NUM = 60


@pytest.fixture(scope="module")
def loaded(tiny_run: TrainingOutcome) -> LoadedModel:
    with load(tiny_run.result.best_checkpoint, device="cpu") as model:
        yield model


@pytest.fixture(scope="module")
def report(loaded: LoadedModel, judge: SavedJudge) -> PictureReport:
    return score_pictures(loaded, judge, num=NUM, seed=3, reporter=SilentReporter())


def test_every_figure_comes_with_its_anchors(report: PictureReport, judge: SavedJudge) -> None:
    scores = report.scores
    assert (scores.judge_sha256, scores.judge_accuracy) == (judge.sha256, judge.description.accuracy)
    assert scores.known_to_judge == 0  # the judge's recipe holds out a larger share, and so these as well
    assert (scores.num_real, scores.real_held_out) == (NUM, False)  # four held-out pictures are too few
    assert scores.num_pictures == NUM and scores.sampling.num_candidates == 1
    like = scores.likeness
    assert 0 <= like.floor < like.unigram and like.floor <= like.reconstructed
    assert scores.fid_share == pytest.approx((like.fid - like.floor) / (like.unigram - like.floor))
    assert scores.accuracy_score is not None and scores.accuracy_score.real > 0.8  # three kinds of pictures, exactly
    assert scores.bits_per_code is not None and 0 < scores.bits_per_code < 8 and 0 < scores.bits_per_code_unigram <= 3
    assert scores.fidelity is not None and 0 <= scores.fidelity <= 1


def test_what_the_image_tokenizer_gives_back_is_measured_on_held_out_pictures(
    report: PictureReport, loaded: LoadedModel, judge: SavedJudge, tiny_run: TrainingOutcome
) -> None:
    held_out, tokenizer = tiny_run.material.test["image_generation"], loaded.image_tokenizer
    found = report.scores.reconstruction
    assert tokenizer is not None and found is not None and found.num_pictures == len(held_out)
    images = images_of(held_out)
    back = tokenizer.decode(tokenizer.encode(images))
    before, after = (np.stack([image_to_array(one) for one in some]).astype(np.float64) for some in (images, back))
    assert found.psnr == pytest.approx(20 * math.log10(255 / np.sqrt(np.mean((before - after) ** 2))))
    assert found.code_use == len(np.unique(tokenizer.encode(images))) / 8
    real, left = (
        np.mean([seen == one.label for seen, one in zip(judge.look(some).labels, held_out, strict=True)])
        for some in (images, back)
    )
    assert found.kept == pytest.approx(left / real)


def test_the_same_seed_gives_the_same_figures(report: PictureReport, loaded: LoadedModel, judge: SavedJudge) -> None:
    again = score_pictures(loaded, judge, num=NUM, seed=3, reporter=SilentReporter())
    assert replace(again.scores, pictures_per_second=0.0) == replace(report.scores, pictures_per_second=0.0)
    assert again.sheets == report.sheets


def test_a_sheet_gives_each_of_a_few_wishes_a_row_with_its_own_and_the_nearest_training_pictures(
    report: PictureReport, loaded: LoadedModel, judge: SavedJudge, monkeypatch: pytest.MonkeyPatch
) -> None:
    sheet = report.sheets["seen"]
    num_wishes = len(set(sheet.wishes))
    assert len(sheet.wishes) == len(sheet.drawn) == len(sheet.real) == len(sheet.nearest) == 8 * num_wishes
    assert sheet.wishes[:8] == sheet.wishes[:1] * 8 and sheet.wishes[8] != sheet.wishes[0]
    assert len(set(sheet.drawn[:8])) > 1 and sheet.retrieval.num_pictures == num_wishes
    monkeypatch.setattr("banyan.workflows.picture_scores.ROW_EACH", 2)
    sheet = score_pictures(loaded, judge, num=8, seed=3, reporter=SilentReporter()).sheets["seen"]
    assert len(set(sheet.wishes)) == len(sheet.wishes) == len(sheet.drawn) == num_wishes  # many: each of them once


def test_a_held_out_wish_is_unseen_only_if_no_training_picture_has_it(report: PictureReport) -> None:
    assert (
        set(report.sheets) == {"seen"} and report.scores.retrieval_unseen is None
    )  # three captions, all of them known
    new = PictureExample(caption="new", captions=("new",))
    known, other = PictureExample(caption="old", captions=("old",)), PictureExample(caption="x", captions=("x", "old"))
    real = RealPictures(train=[other], held_out=[known, new], against=[], others=[])
    assert unseen(real) == [new]


def test_real_pictures_passed_off_as_drawn_are_faithful_and_find_themselves(
    loaded: LoadedModel, judge: SavedJudge, tiny_run: TrainingOutcome
) -> None:
    real = tiny_run.material.train["image_generation"][:20]
    seen = judge.look(images_of(real))
    assert fidelity(judge, seen, real) == np.mean([a == b.label for a, b in zip(seen.labels, real, strict=True)])
    assert retrieval(seen.features, seen.features).top5 == 1.0
    assert frechet_distance(seen.features, seen.features) == pytest.approx(0, abs=1e-6)


def test_what_cannot_be_measured_says_why(loaded: LoadedModel, judge: SavedJudge) -> None:
    seen = Seen(features=np.zeros((2, 3)), labels=("0", "1"))

    def reason(*labels: str) -> str:
        found = fidelity(judge, seen, [PictureExample(caption="x", label=label) for label in labels])
        return found.reason if isinstance(found, Unmeasured) else ""

    assert "have no labels" in reason("", "") and reason("0", "1") == ""
    assert "does not know 1 of the 2 labels, the first is 'seven'; it knows 0, 1, 2" in reason("seven", "0")
    only_training = RealPictures(train=[], held_out=[], against=[], others=[])
    task = loaded.task_of_kind("image_generation")
    assert isinstance(task, ImageGeneration)
    for found in (
        bits_per_code(loaded, task, only_training.held_out),
        copies(judge, only_training, seen.features, seen),
        accuracy_score(judge, only_training, [], [], seed=0),
    ):
        assert isinstance(found, Unmeasured) and "held out" in found.reason and "data.test_fraction" in found.reason


def test_many_copies_are_warned_of_and_few_are_not() -> None:
    assert warning_of_copies(None) is warning_of_copies(0.01) is None
    assert "47% of the drawn pictures are copies" in (warning_of_copies(0.47) or "")


def test_every_figure_is_there_or_says_why_not(report: PictureReport) -> None:
    scores = report.scores
    missing = {field.name for field in fields(scores) if getattr(scores, field.name) is None}
    assert missing == scores.unmeasured.keys() == {"retrieval_unseen", "copied_share"}
    assert "too few to tell 99 %" in scores.unmeasured["copied_share"]


def test_a_code_that_is_always_the_same_costs_nothing_and_an_even_choice_its_logarithm() -> None:
    same, even = ([PictureExample(caption="x", codes=codes)] for codes in ((0,) * 5000, tuple(range(4)) * 2000))
    assert unigram_bits(same, num_codes=4) == pytest.approx(0, abs=2e-3)
    assert unigram_bits(even, num_codes=4) == pytest.approx(math.log2(4), abs=1e-3)


def test_too_few_pictures_are_refused(loaded: LoadedModel, judge: SavedJudge) -> None:
    with pytest.raises(DataError, match="too few"):
        score_pictures(loaded, judge, num=3, seed=0, reporter=SilentReporter())
