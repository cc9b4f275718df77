"""`banyan evaluate --images`: everything that is measured of drawn pictures, offline, with the anchors beside it.

Drawn, reconstructed and code-by-code random pictures, as many of each, are held against real pictures that the model
has not learned from; as many training pictures against the same ones are the floor: what repeats them gets no further.
Where too few are held out, the real pictures are cut into two halves, and the floor is the one against the other. The
judge was trained on real pictures alone, and neither a loss nor a ranking ever saw it; every wish is drawn once.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from banyan.core.types import Image
from banyan.infer.randomness import derive_seed
from banyan.infer.sampling import SamplingConfig
from banyan.runtime.loaded_model import LoadedModel
from banyan.tasks.image_generation import ImageGeneration, PictureExample, encode_pictures
from banyan.tasks.metrics.pictures import nearest
from banyan.workflows.datasets import spread
from banyan.workflows.picture_judging import SavedJudge, Seen
from banyan.workflows.picture_measures import (
    NOTHING_HELD_OUT,
    AccuracyScore,
    Likeness,
    Reconstruction,
    Retrieval,
    Unmeasured,
    accuracy_score,
    bits_per_code,
    copies,
    fidelity,
    images_of,
    likeness,
    reconstruction,
    retrieval,
    unigram_bits,
    unseen,
)
from banyan.workflows.real_pictures import RealPictures, read_real_pictures
from banyan.workflows.reporter import Reporter

SLOTS = 128  # of the cache while it draws: 64 pictures with guidance at a time
_AT_ONCE = 512  # pictures asked for together
SHEET_COLUMNS = 8
_SHEET = 64  # wishes on a sheet
ROW_EACH = 12  # so few wishes get a whole row each
_MANY_COPIES = 0.1  # of what is drawn
_MOST_LOOKED_AT = 20_000  # examples among which different wishes are looked for


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureScores:
    """Every figure, with what it has to be held against. None: `unmeasured` says why there is nothing to measure."""

    judge_sha256: str
    judge_accuracy: float | None  # on held-out real pictures: no fidelity above it means much
    known_to_judge: float | None  # share of the model's held-out pictures that the judge was trained on
    num_pictures: int  # drawn
    num_real: int  # that they are held against
    real_held_out: bool  # whether the model has learned from none of these
    sampling: SamplingConfig
    seed: int
    likeness: Likeness
    fid_share: float  # (FID - floor) / (unigram - floor)
    reconstruction: Reconstruction | None  # what the image tokenizer keeps of held-out pictures
    fidelity: float | None  # drawn pictures in which the judge sees what was wished for
    accuracy_score: AccuracyScore | None
    copied_share: float | None  # drawn nearer to a picture that was learned than 99 % of fresh real ones; 0.01 is none
    retrieval_seen: Retrieval  # wishes of training pictures
    retrieval_unseen: Retrieval | None  # wishes of held-out ones that no training picture has
    bits_per_code: float | None  # of held-out pictures
    bits_per_code_unigram: float
    pictures_per_second: float
    unmeasured: dict[str, str]  # figure → why it is None, in words


@dataclass(frozen=True, kw_only=True, slots=True)
class Sheet:
    """Pictures to look at, as they came: one for each of some different wishes, or a row for each of a few."""

    wishes: tuple[str, ...]  # one for each picture
    drawn: tuple[Image, ...]
    real: tuple[Image, ...]  # what the wishes belong to
    nearest: tuple[Image, ...]  # the training picture that looks most like each of the drawn
    retrieval: Retrieval


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureReport:
    """The figures, and sheets of seen and unseen wishes."""

    scores: PictureScores
    sheets: dict[str, Sheet]


def score_pictures(
    model: LoadedModel,
    judge: SavedJudge,
    *,
    num: int,
    seed: int,
    reporter: Reporter,
    sampling: SamplingConfig | None = None,
) -> PictureReport:
    """Draw as many pictures as asked for and measure them.

    `sampling` is how they are drawn, candidates aside; None: as the model draws unless it is asked otherwise.
    Raises: ConfigError if the model does not draw; FileError, DataError if its pictures cannot be found or are too few.
    """
    task = model.task_of_kind("image_generation")
    assert isinstance(task, ImageGeneration) and model.image_tokenizer is not None, "a model that draws has a tokenizer"
    reporter.stage("read data")
    real = read_real_pictures(model, task, num=num, enough=1 + judge.net.num_features, seed=seed)
    wishes = [task.with_caption(one, number) for number, one in enumerate(real.others)]
    reporter.stage("draw")
    sampling = replace(sampling or model.sampling_for(task.name), num_candidates=1)  # nothing is ranked
    drawer = _Drawer(model=model, task=task, sampling=sampling, seed=seed, reporter=reporter)
    start = time.perf_counter()
    drawn = drawer.draw(wishes)
    seconds = time.perf_counter() - start
    reporter.stage("judge")
    seen, train = judge.look(drawn), judge.look(images_of(real.train))
    learned = judge.look(images_of(real.learned)) if len(real.learned) > len(real.train) else train
    asked = {"seen": real.train, "unseen": unseen(real)}
    sheets = {name: _sheet(drawer, judge, examples, real, train) for name, examples in asked.items() if examples}
    reporter.stage("measure")
    like = likeness(model, judge, real, seen, seed=seed)
    encoded = encode_pictures(real.others, model.image_tokenizer)
    distances, _ = nearest(seen.features, learned.features)
    may_lack = {
        "judge_accuracy": _accuracy_of(judge),
        "known_to_judge": judge.known_share(images_of(real.held_out)) if real.held_out else NOTHING_HELD_OUT,
        "reconstruction": reconstruction(judge, real, model.image_tokenizer),
        "fidelity": fidelity(judge, seen, wishes),
        "accuracy_score": accuracy_score(judge, real, drawn, wishes, seed=seed),
        "copied_share": copies(judge, real, distances, learned),
        "retrieval_unseen": sheets["unseen"].retrieval if "unseen" in sheets else _none_unseen(real),
        "bits_per_code": bits_per_code(model, task, real.held_out),
    }
    scores = PictureScores(
        judge_sha256=judge.sha256,
        num_pictures=len(drawn),
        num_real=len(real.against),
        real_held_out=real.are_held_out,
        sampling=sampling,
        seed=seed,
        likeness=like,
        fid_share=like.share,
        retrieval_seen=sheets["seen"].retrieval,
        bits_per_code_unigram=unigram_bits(encoded, num_codes=task.num_codes),
        pictures_per_second=len(drawn) / seconds,
        **_known_and_why_not(may_lack),
    )
    return PictureReport(scores=scores, sheets=sheets)


def warning_of_copies(copied_share: float | None) -> str | None:
    """Return what many copies mean for the other figures; None where there are few, or nobody knows."""
    if copied_share is None or copied_share <= _MANY_COPIES:
        return None
    return (
        f"{copied_share:.0%} of the drawn pictures are copies of training pictures: the model knows them by heart, and "
        "FID, fidelity and accuracy score are flattered; let image_tokenizer.copies_up_to and augment make more of it, "
        "or train for fewer minutes"
    )


def _known_and_why_not(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures, None where one is unmeasured, with the reasons beside them."""
    reasons = {name: found.reason for name, found in figures.items() if isinstance(found, Unmeasured)}
    return {**figures, **dict.fromkeys(reasons), "unmeasured": reasons}


def _accuracy_of(judge: SavedJudge) -> float | Unmeasured:
    reason = "the judge held no picture out; name data.test or data.test_fraction in its recipe"
    return Unmeasured(reason=reason) if judge.description.accuracy is None else judge.description.accuracy


def _none_unseen(real: RealPictures) -> Unmeasured:
    if not real.held_out:
        return NOTHING_HELD_OUT
    return Unmeasured(reason="every wish of a held-out picture is one of a training picture, too")


def _sheet(
    drawer: _Drawer, judge: SavedJudge, examples: Sequence[PictureExample], real: RealPictures, train: Seen
) -> Sheet:
    """Draw pictures for some different wishes, and look for each wish's own among the real ones."""
    alike: dict[str, list[PictureExample]] = {}
    for one in spread(list(examples), _MOST_LOOKED_AT):
        alike.setdefault(one.caption, []).append(one)
    each = SHEET_COLUMNS if len(alike) <= ROW_EACH else 1
    wishes = [own[number % len(own)] for own in spread(list(alike.values()), _SHEET) for number in range(each)]
    drawn, pictures = drawer.draw(wishes), images_of(wishes)
    seen = judge.look(drawn).features
    places = nearest(seen, train.features)[1]
    return Sheet(
        wishes=tuple(wish.caption for wish in wishes),
        drawn=tuple(drawn),
        real=tuple(pictures),
        nearest=tuple(images_of([real.train[place] for place in places.tolist()])),
        retrieval=retrieval(seen[::each], judge.look(pictures[::each]).features),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Drawer:
    """Draws every wish once, in one way."""

    model: LoadedModel
    task: ImageGeneration
    sampling: SamplingConfig
    seed: int
    reporter: Reporter

    def draw(self, wishes: Sequence[PictureExample]) -> list[Image]:
        """Return the picture of each wish."""
        drawn: list[Image] = []
        asked = [replace(wish, image=None, codes=None) for wish in wishes]
        for number, start in enumerate(range(0, len(asked), _AT_ONCE)):
            # Each lot from a seed of its own: the same wish in two lots would give the same picture twice.
            sampling = replace(self.sampling, seed=derive_seed(self.seed, number + 1))
            predictions = self.model.answer(self.task.name, asked[start : start + _AT_ONCE], sampling=sampling)
            drawn += [prediction.image for prediction in predictions if prediction.image is not None]
            self.reporter.progress(len(drawn), len(asked))
        return drawn
