"""The single measurements of drawn pictures, each with its anchors."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from banyan.core.types import Image
from banyan.infer.randomness import derive_seed
from banyan.runtime.loaded_model import LoadedModel
from banyan.tasks.baselines.pictures import unigram_codes
from banyan.tasks.evaluate import evaluate_code_bits
from banyan.tasks.image_generation import ImageGeneration, PictureExample, encode_pictures
from banyan.tasks.metrics.likelihood import BITS_PER_CODE
from banyan.tasks.metrics.pictures import copied_share, frechet_distance, nearest, precision_and_recall
from banyan.tasks.pictures import fit_picture
from banyan.tokenizers.images import ImageTokenizer
from banyan.tokenizers.pictures import image_to_array
from banyan.train.picture_judge import judge_pictures, train_judge
from banyan.workflows.datasets import spread
from banyan.workflows.picture_judging import SavedJudge, Seen
from banyan.workflows.picture_tokenizer.scoring import psnr_of
from banyan.workflows.real_pictures import RealPictures

_MAX_COMPARED = 5_000  # pictures of each side for precision and recall, which look at all pairs
_TOP = 5
_MIN_FRESH = 100  # held-out pictures of which 99 % can be told
_MAX_LIKELIHOODS = 500  # held-out pictures whose codes are weighed

Features = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Unmeasured:
    """In place of a figure that there is nothing to measure on."""

    reason: str  # in words, with what would change it


NOTHING_HELD_OUT = Unmeasured(
    reason="no picture was held out from training; name data.test or data.test_fraction in the model's recipe"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Likeness:
    """How far sets of pictures are from real ones, in the judge's own features."""

    fid: float  # comparable with the same judge only
    floor: float  # the other real ones
    reconstructed: float  # the other real ones through the image tokenizer and back
    unigram: float  # every code drawn by itself
    precision: float
    recall: float

    @property
    def share(self) -> float:
        """(FID - floor) / (unigram - floor): 0 is real, 1 is no better than noise with the right colours."""
        return (self.fid - self.floor) / max(self.unigram - self.floor, 1e-12)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reconstruction:
    """What the image tokenizer keeps of held-out pictures: no drawing can be better than that."""

    psnr: float | None  # dB, of all 8-bit samples together; None: nothing is lost
    code_use: float  # share of the codebook that occurs at least once
    kept: float | None  # the judge's accuracy on what comes back, over that on the pictures; None: that is 0
    num_pictures: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Retrieval:
    """How often the picture that a wish belongs to is among the five nearest of the drawn one."""

    top5: float
    num_pictures: int  # it is looked for among


@dataclass(frozen=True, kw_only=True, slots=True)
class AccuracyScore:
    """How well fresh nets name held-out real pictures."""

    drawn: float  # trained on drawn pictures
    real: float  # trained on as many real ones


def images_of(examples: Sequence[PictureExample]) -> list[Image]:
    """Return the pictures themselves."""
    return [one.image for one in examples if one.image is not None]


def unseen(real: RealPictures) -> list[PictureExample]:
    """Return the held-out pictures whose caption no training picture has: of ten classes all wishes are known."""
    known = {caption for one in real.train for caption in (one.caption, *one.captions)}
    return [one for one in real.held_out if one.caption not in known]


def likeness(model: LoadedModel, judge: SavedJudge, real: RealPictures, seen: Seen, *, seed: int) -> Likeness:
    """Hold drawn, other real, reconstructed and random pictures, as many of each, against real ones."""
    task, tokenizer = model.task_of_kind("image_generation"), model.image_tokenizer
    assert isinstance(task, ImageGeneration) and tokenizer is not None, "a model that draws has a tokenizer"
    encoded = encode_pictures(real.others, tokenizer)
    random = [one.image_codes or () for one in unigram_codes(task, encoded, seed=seed)(encoded)]
    against = judge.look(images_of(real.against)).features

    def distance(images: Sequence[Image]) -> float:
        return frechet_distance(judge.look(images).features, against)

    coverage = precision_and_recall(against[:_MAX_COMPARED], seen.features[:_MAX_COMPARED])
    return Likeness(
        fid=frechet_distance(seen.features, against),
        floor=distance(images_of(real.others)),
        reconstructed=distance(tokenizer.decode([one.codes or () for one in encoded])),
        unigram=distance(tokenizer.decode(random)),
        precision=coverage.precision,
        recall=coverage.recall,
    )


def reconstruction(judge: SavedJudge, real: RealPictures, tokenizer: ImageTokenizer) -> Reconstruction | Unmeasured:
    """Encode the held-out pictures, decode them again, and compare."""
    if not real.held_out:
        return NOTHING_HELD_OUT
    size, channels = tokenizer.image_size, tokenizer.channels
    fitted = [fit_picture(image, image_size=size, channels=channels) for image in images_of(real.held_out)]
    codes = tokenizer.encode(fitted)
    back = tokenizer.decode(codes)
    squares = math.fsum(_squared_difference(*pair) for pair in zip(fitted, back, strict=True))
    return Reconstruction(
        psnr=psnr_of(squares / (len(fitted) * size * size * channels)) if squares else None,
        code_use=len({code for row in codes for code in row}) / tokenizer.num_codes,
        kept=_kept_accuracy(judge, real.held_out, back),
        num_pictures=len(fitted),
    )


def _squared_difference(first: Image, second: Image) -> float:
    return float(np.square(image_to_array(first).astype(np.int64) - image_to_array(second)).sum())


def _kept_accuracy(judge: SavedJudge, examples: Sequence[PictureExample], back: Sequence[Image]) -> float | None:
    due = np.array([one.label for one in examples])
    seen = (np.array(judge.look(images).labels) for images in (images_of(examples), back))
    real, decoded = (int((labels == due).sum()) for labels in seen)
    return decoded / real if real else None


def fidelity(judge: SavedJudge, seen: Seen, wishes: Sequence[PictureExample]) -> float | Unmeasured:
    """Return how often the judge sees what was wished for."""
    pairs = [(wish.label, label) for wish, label in zip(wishes, seen.labels, strict=True) if wish.label]
    if not pairs:
        return Unmeasured(reason="the model's pictures have no labels; name their column: columns: {label: my_column}")
    due = {label for label, _ in pairs}
    if unknown := sorted(due.difference(judge.description.labels)):
        return Unmeasured(
            reason=f"the judge does not know {len(unknown)} of the {len(due)} labels, the first is {unknown[0]!r}; "
            f"it knows {', '.join(judge.description.labels[:5])} …; train one on pictures with the model's labels"
        )
    return float(np.mean([due == label for due, label in pairs]))


def copies(judge: SavedJudge, real: RealPictures, drawn_to_learned_N: Features, learned: Seen) -> float | Unmeasured:
    """Return the share of drawn pictures that lie nearer to a learned picture than 99 % of held-out real ones do.

    A model that copies none scores 0.01. Learned are changed copies, too: drawing one of these again is copying.
    """
    if not real.held_out:
        return NOTHING_HELD_OUT
    if len(real.held_out) < _MIN_FRESH:
        return Unmeasured(
            reason=f"{len(real.held_out)} held-out pictures are too few to tell 99 % of them; {_MIN_FRESH} are enough"
        )
    fresh = judge.look(images_of(real.held_out)).features
    return copied_share(drawn_to_learned_N, nearest(fresh, learned.features)[0])


def retrieval(drawn_ND: Features, real_ND: Features) -> Retrieval:
    """Look for the picture that each wish belongs to among those nearest to what was drawn for it.

    Shapes: both (N, D), row n belonging to wish n.
    """
    distances = ((drawn_ND[:, None] - real_ND) ** 2).sum(axis=2)
    ranks = (distances < distances.diagonal()[:, None]).sum(axis=1)
    return Retrieval(top5=float((ranks < _TOP).mean()), num_pictures=len(drawn_ND))


def accuracy_score(
    judge: SavedJudge, real: RealPictures, drawn: Sequence[Image], wishes: Sequence[PictureExample], *, seed: int
) -> AccuracyScore | Unmeasured:
    """Train a fresh net on drawn pictures, another on as many real ones, and test both on held-out real pictures.

    Source: Ravuri and Vinyals 2019 (classification accuracy score).
    """
    labels = judge.description.labels
    tested = [one for one in real.held_out if one.label in labels]
    taught = [
        (image, labels.index(wish.label)) for image, wish in zip(drawn, wishes, strict=True) if wish.label in labels
    ]
    shown = spread([one for one in real.train if one.label in labels], len(taught))
    if not real.held_out:
        return NOTHING_HELD_OUT
    if not tested or not shown or len({number for _, number in taught}) < 2:
        return Unmeasured(
            reason="of the labels that the judge knows, fewer than two are among what is drawn and held out"
        )
    due = torch.tensor([labels.index(one.label) for one in tested])
    pixels = judge.pixels(images_of(tested))

    def accuracy(images: Sequence[Image], numbers: Sequence[int]) -> float:
        net = train_judge(
            judge.pixels(images),
            torch.tensor(numbers),
            num_labels=len(labels),
            width=judge.description.width,
            how=judge.description.training,
            seed=derive_seed(seed, 2),
        )
        return float((judge_pictures(net, pixels)[1] == due).double().mean())

    return AccuracyScore(
        drawn=accuracy([image for image, _ in taught], [number for _, number in taught]),
        real=accuracy(images_of(shown), [labels.index(one.label) for one in shown]),
    )


def bits_per_code(model: LoadedModel, task: ImageGeneration, examples: Sequence[PictureExample]) -> float | Unmeasured:
    """Return what a code of a held-out picture costs when its caption is known; the end mark is left out."""
    if not examples:
        return NOTHING_HELD_OUT
    assert model.image_tokenizer is not None
    chosen = encode_pictures(spread(list(examples), _MAX_LIKELIHOODS), model.image_tokenizer)
    found = evaluate_code_bits(
        task, chosen, model.engine.log_likelihood, model.vocabulary, max_tokens=model.max_seq_len, num_samples=2
    )
    return found.scores[BITS_PER_CODE]


def unigram_bits(examples: Sequence[PictureExample], *, num_codes: int) -> float:
    """Return what a code costs when only the share of each code is known."""
    counts = Counter(code for one in examples for code in one.codes or ())
    total = counts.total() + num_codes
    return -sum(count / counts.total() * math.log2((count + 1) / total) for count in counts.values())
