"""Pictures in a recipe: the image tokenizer trained on them, and examples with their codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from banyan.core.errors import ConfigError, DataError
from banyan.core.model_directory import IMAGE_TOKENIZER_FILE
from banyan.core.types import Image, Row
from banyan.tasks.base import Task
from banyan.tasks.config import TaskConfig
from banyan.tasks.image_generation import ImageGeneration, encode_pictures
from banyan.tasks.pictures import fit_picture, read_picture
from banyan.tasks.registry import TASK_KINDS
from banyan.tasks.rows import rename_columns
from banyan.tokenizers.images import ImageTokenizer, load_image_tokenizer, save_image_tokenizer
from banyan.tokenizers.patch_codebook import PatchCodebook
from banyan.workflows.recipe import ImageTokenizerRecipe


def draws(task: TaskConfig) -> bool:
    """Return whether a task's answers are pictures."""
    return task.kind == ImageGeneration.kind


def has_pictures(task: TaskConfig) -> bool:
    """Return whether a task's examples hold pictures: as answers, or in the question."""
    return TASK_KINDS[task.kind].has_pictures


def train_image_tokenizer(
    rows: Mapping[str, Sequence[Row]],
    tasks: Sequence[TaskConfig],
    recipe: ImageTokenizerRecipe,
    directory: Path,
    *,
    seed: int,
) -> ImageTokenizer | None:
    """Train the image tokenizer on the training pictures of all tasks; None if none has any.

    Raises: DataError if a picture cannot be read; ConfigError if the patches do not fill the pictures.
    """
    pictures = [picture for task in tasks if has_pictures(task) for picture in read_pictures(rows[task.name], task)]
    if not pictures:
        return None
    size = recipe.image_size or max(pictures[0].width, pictures[0].height)
    if size % recipe.patch_size:
        raise ConfigError(
            f"image_tokenizer.patch_size={recipe.patch_size} does not divide the pictures' {size} pixels.",
            hint=f"set image_tokenizer.image_size={size - size % recipe.patch_size} or another patch_size",
        )
    channels = max(picture.channels for picture in pictures)
    fitted = [fit_picture(picture, image_size=size, channels=channels) for picture in pictures]
    tokenizer = PatchCodebook.train(fitted, patch_size=recipe.patch_size, num_codes=recipe.num_codes, seed=seed)
    directory.mkdir(parents=True, exist_ok=True)
    save_image_tokenizer(tokenizer, directory / IMAGE_TOKENIZER_FILE)
    return load_image_tokenizer(directory / IMAGE_TOKENIZER_FILE)


def read_pictures(rows: Sequence[Row], task: TaskConfig) -> list[Image]:
    """Return the picture of every row.

    Raises: DataError naming the row that has none.
    """
    pictures = []
    for number, row in enumerate(rows, start=1):
        try:
            pictures.append(read_picture(rename_columns(row, task.data.columns).get("image")))
        except DataError as error:
            raise DataError(f"task {task.name}, row {number}: {error.message}", hint=error.hint) from error
    return pictures


def with_codes(task: Task[Any], examples: Sequence[Any], tokenizer: ImageTokenizer | None) -> list[Any]:
    """Return the examples of a task that has pictures with their codes; others as they are."""
    if tokenizer is None:
        return list(examples)
    return encode_pictures(examples, tokenizer) if isinstance(task, ImageGeneration) else task.see(examples, tokenizer)
