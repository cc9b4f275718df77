"""Pictures in a recipe: the image tokenizer trained on them, and examples with their codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from banyan.core.errors import CheckpointError, ConfigError, DataError, FileError
from banyan.core.files import sha256_of
from banyan.core.model_directory import IMAGE_TOKENIZER_FILE
from banyan.core.types import Image, Row
from banyan.tasks.base import Task
from banyan.tasks.config import TaskConfig
from banyan.tasks.image_generation import ImageGeneration, encode_pictures
from banyan.tasks.pictures import fit_picture, read_picture
from banyan.tasks.registry import TASK_KINDS
from banyan.tasks.rows import rename_columns
from banyan.tokenizers.images import ImageTokenizer, load_image_tokenizer, save_image_tokenizer
from banyan.tokenizers.palette import Palette
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
    """Return the recipe's image tokenizer, kept in `directory`: a copy of the trained one that it names, or a new one.

    None if no task has pictures. A new one is made from the training pictures of all tasks.
    Raises: FileError, CheckpointError for a named one that cannot be used; DataError if too many pictures cannot be
        read; ConfigError if the patches do not fill the pictures.
    """
    if not any(map(has_pictures, tasks)):
        return None
    tokenizer = _made(rows, tasks, recipe, seed=seed) if recipe.path is None else _named(recipe.path)
    if tokenizer is None:
        return None
    directory.mkdir(parents=True, exist_ok=True)
    save_image_tokenizer(tokenizer, directory / IMAGE_TOKENIZER_FILE)
    return load_image_tokenizer(directory / IMAGE_TOKENIZER_FILE)


def _named(path: str) -> ImageTokenizer:
    try:
        return load_image_tokenizer(Path(path))
    except (FileError, CheckpointError) as error:
        hint = "name the folder of a checkpoint that a recipe with kind: image_tokenizer has left"
        raise type(error)(f"image_tokenizer.path={path}: {error.message}", hint=hint) from error


def trained_image_tokenizer_sha256(path: str) -> str:
    """Return the hash of a trained tokenizer's file, given that or the folder it lies in.

    Raises: FileError if there is none.
    """
    file = Path(path) / IMAGE_TOKENIZER_FILE if Path(path).is_dir() else Path(path)
    if not file.is_file():
        raise FileError(
            f"image_tokenizer.path={path}: there is no picture tokenizer; one must be trained before a model draws.",
            hint="train the one that the first lines of this recipe name (banyan train …), or check the path",
        )
    return sha256_of(file)


def _made(
    rows: Mapping[str, Sequence[Row]], tasks: Sequence[TaskConfig], recipe: ImageTokenizerRecipe, *, seed: int
) -> ImageTokenizer | None:
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
    if recipe.kind == "palette":
        return Palette(image_size=size, channels=channels, num_codes=recipe.num_codes, cell_size=recipe.patch_size)
    fitted = [fit_picture(picture, image_size=size, channels=channels) for picture in pictures]
    return PatchCodebook.train(fitted, patch_size=recipe.patch_size, num_codes=recipe.num_codes, seed=seed)


def read_pictures(rows: Sequence[Row], task: TaskConfig) -> list[Image]:
    """Return the pictures of the rows; those of unreadable rows, which the task counts, are left out.

    Raises: DataError naming the first such row, if there are more of them than the task allows.
    """
    pictures: list[Image] = []
    problems: list[DataError] = []
    for number, row in enumerate(rows, start=1):
        try:
            pictures.append(read_picture(rename_columns(row, task.data.columns).get("image")))
        except DataError as error:
            problems.append(DataError(f"task {task.name}, row {number}: {error.message}", hint=error.hint))
    if len(problems) > task.data.max_bad_share * len(rows):
        raise problems[0]
    return pictures


def with_codes(task: Task[Any], examples: Sequence[Any], tokenizer: ImageTokenizer | None) -> list[Any]:
    """Return the examples of a task that has pictures with their codes; others as they are."""
    if tokenizer is None:
        return list(examples)
    return encode_pictures(examples, tokenizer) if isinstance(task, ImageGeneration) else task.see(examples, tokenizer)
