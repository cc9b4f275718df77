"""The pictures a tokenizer learns from: read once, all of one size, the unreadable ones left out and counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from banyan.core.errors import BanyanError, DataError
from banyan.core.types import Image, Row
from banyan.tasks.config import TaskConfig, TaskDataConfig
from banyan.tasks.image_generation import ImageGeneration
from banyan.tasks.pictures import fit_picture, read_picture
from banyan.tasks.rows import rename_columns
from banyan.tokenizers.pictures import image_to_array
from banyan.workflows.datasets import Splits, load_splits
from banyan.workflows.material import fingerprint_rows
from banyan.workflows.picture_tokenizer.recipe import PicturesRecipe, PictureTokenizerRecipe

MAX_SIDE_RATIO = 8.0  # of a picture's longer side to its shorter one; beyond, a square is nearly all background
MAX_LABELS = 1000
_MIN_PICTURES_PER_LABEL = 4
_LABEL_COLUMNS = ("label", "label_name", "class", "category", "text")


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureSet:
    """Pictures of one size, and what each of them shows.

    Shapes: pixels (N, C, Y, X), uint8; labels (N,), int64, all 0 where `label_names` is empty.
    """

    pixels: Tensor
    labels: Tensor
    label_names: tuple[str, ...]
    num_bad: int  # that could not be read, and are left out

    def __len__(self) -> int:
        return len(self.pixels)


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureMaterial:
    """Everything that is known before training begins."""

    train: PictureSet
    validation: PictureSet
    fingerprint: str  # SHA-256 over all rows

    @property
    def image_size(self) -> int:
        """Pixels a side."""
        return self.train.pixels.shape[3]

    @property
    def channels(self) -> int:
        """1 grey, 3 RGB."""
        return self.train.pixels.shape[1]

    @property
    def skipped(self) -> dict[str, int]:
        """Pictures that could not be read, by split; splits without any are left out."""
        counts = {"train": self.train.num_bad, "validation": self.validation.num_bad}
        return {split: num for split, num in counts.items() if num}


def gather_pictures(recipe: PictureTokenizerRecipe) -> PictureMaterial:
    """Read the pictures that a recipe names.

    Raises: FileError, DataError for data that cannot be used, or for more broken pictures than the recipe allows.
    """
    task = TaskConfig(name=recipe.name.replace(" ", "_").replace(".", "_"), kind=ImageGeneration.kind, data=recipe.data)
    splits = load_splits(task, seed=recipe.seed)
    train = read_set(splits.train, recipe.data, recipe.pictures, split="train")
    same_form = _form_like(recipe.pictures, train)
    return PictureMaterial(
        train=train,
        validation=read_set(splits.validation, recipe.data, same_form, split="validation"),
        fingerprint=fingerprint_rows({"pictures": _scored(splits)}),
    )


def _scored(splits: Splits) -> Splits:
    return Splits(train=splits.train, validation=splits.validation, test=(), described_by=())


def _form_like(pictures: PicturesRecipe, others: PictureSet) -> PicturesRecipe:
    """Return how pictures are brought to the size and the channels of others."""
    return replace(pictures, image_size=others.pixels.shape[3], channels=3 if others.pixels.shape[1] == 3 else 1)


def read_set(rows: Sequence[Row], data: TaskDataConfig, pictures: PicturesRecipe, *, split: str) -> PictureSet:
    """Read the pictures of rows; broken ones are left out while they are few.

    Raises: DataError naming the first broken one if they are many, or if there are no pictures at all.
    """
    images: list[Image] = []
    kept: list[Row] = []
    problems: list[str] = []
    for number, row in enumerate((rename_columns(row, data.columns) for row in rows), start=1):
        try:
            images.append(_scaled(row, pictures, like=images[0] if images else None))
            kept.append(row)
        except BanyanError as error:
            problems.append(f"row {number}: {error.message}")
    if not images or len(problems) > data.max_bad_share * len(rows):
        first = f"; {problems[0]}" if problems else "."
        raise DataError(
            f"data.{split}: {len(problems)} of {len(rows)} pictures cannot be used{first}",
            hint="mend or remove them, or raise data.max_bad_share to leave them out",
        )
    names, labels = _labels_of(kept)
    return PictureSet(pixels=_stacked(images, pictures), labels=labels, label_names=names, num_bad=len(problems))


def _scaled(row: Row, pictures: PicturesRecipe, *, like: Image | None) -> Image:
    """Return the picture of a row in the size of all, in its own colours: a photograph is large, and there are many."""
    image = read_picture(row.get("image"), background=pictures.background)
    short, long = sorted((image.width, image.height))
    if long > MAX_SIDE_RATIO * short:
        raise DataError(f"a picture of {image.width}×{image.height} pixels is too narrow to fill a square.")
    size = pictures.image_size or (long if like is None else like.width)
    return fit_picture(
        image, image_size=size, channels=pictures.channels or image.channels, background=pictures.background
    )


def _stacked(images: Sequence[Image], pictures: PicturesRecipe) -> Tensor:
    channels = pictures.channels or max(image.channels for image in images)
    arrays = [image_to_array(fit_picture(image, image_size=image.width, channels=channels)) for image in images]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).contiguous()


def _labels_of(rows: Sequence[Row]) -> tuple[tuple[str, ...], Tensor]:
    """Return the labels' names and each row's label: from the first column that sorts the pictures into classes."""
    for column in _LABEL_COLUMNS:
        values = [row.get(column) for row in rows]
        if not all(isinstance(value, str | int) for value in values):
            continue
        names = sorted({str(value) for value in values})
        if 2 <= len(names) <= min(MAX_LABELS, len(rows) // _MIN_PICTURES_PER_LABEL):
            number = {name: place for place, name in enumerate(names)}
            return tuple(names), torch.tensor([number[str(value)] for value in values])
    return (), torch.zeros(len(rows), dtype=torch.int64)
