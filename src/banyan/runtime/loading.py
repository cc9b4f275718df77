"""From a model directory to a model that answers; everything that could be wrong with it is said here, in one line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from banyan.core.devices import choose_device
from banyan.core.errors import BanyanError, CheckpointError, FileError
from banyan.core.files import sha256_of
from banyan.core.model_directory import IMAGE_TOKENIZER_FILE, MANIFEST, verify_manifest
from banyan.infer.engine import Engine
from banyan.model.checkpoint import load_model
from banyan.model.transformer import Transformer
from banyan.runtime.description import ModelDescription, read_description
from banyan.runtime.loaded_model import LoadedModel
from banyan.tasks.base import Task
from banyan.tokenizers.images import ImageTokenizer, load_image_tokenizer
from banyan.tokenizers.vocabulary import Vocabulary


def load(directory: Path | str, *, device: str = "auto", num_slots: int = 16) -> LoadedModel:
    """Open a model directory, check every file in it, and get the model ready to answer.

    `device` is auto, cpu or cuda; `num_slots` is how many answers can be written at once.
    Raises: FileError if there is no such directory; CheckpointError in one line for whatever is wrong with it.
    """
    directory = Path(directory)
    target = choose_device(device)
    parts = read_parts(directory)
    model = load_model(directory, device=target)
    _check_model(directory, model, vocabulary=parts.vocabulary, tasks=parts.tasks)
    return LoadedModel(
        directory=directory,
        sha256=parts.sha256,
        description=parts.description,
        tasks=parts.tasks,
        vocabulary=parts.vocabulary,
        image_tokenizer=parts.image_tokenizer,
        model=model,
        engine=Engine(model, parts.vocabulary, num_slots=num_slots),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelParts:
    """All of a model directory but its weights."""

    directory: Path
    sha256: str  # of the manifest
    description: ModelDescription
    tasks: Mapping[str, Task[Any]]  # by name, in the order of their task tokens
    vocabulary: Vocabulary
    image_tokenizer: ImageTokenizer | None


def read_parts(directory: Path) -> ModelParts:
    """Check every file of a model directory and read all but its weights.

    Raises: as `load`.
    """
    _verify(directory)
    description = read_description(directory)
    return ModelParts(
        directory=directory,
        sha256=sha256_of(directory / MANIFEST),
        description=description,
        tasks=_build_tasks(directory, description),
        vocabulary=_load_vocabulary(directory, description),
        image_tokenizer=_load_image_tokenizer(directory, description),
    )


def _verify(directory: Path) -> None:
    try:
        verify_manifest(directory)
    except CheckpointError as error:
        best = directory / "best"
        if not (directory / MANIFEST).exists() and best.is_dir():
            raise CheckpointError(f"{directory} is a run, not a model.", hint=f"its best model is {best}") from error
        raise


def _build_tasks(directory: Path, description: ModelDescription) -> dict[str, Task[Any]]:
    try:
        tasks = description.build_tasks()
    except BanyanError as error:
        raise CheckpointError(f"{directory} has a task that cannot be built: {error.message}") from error
    if len(tasks) < len(description.tasks):
        raise CheckpointError(f"{directory} names a task twice: {', '.join(description.task_names)}.")
    return tasks


def _load_vocabulary(directory: Path, description: ModelDescription) -> Vocabulary:
    try:
        return Vocabulary.load(
            directory, task_names=description.task_names, num_image_codes=description.num_image_codes
        )
    except BanyanError as error:
        place = "" if str(directory) in error.message else f"{directory}: "
        raise CheckpointError(f"{place}{error.message}", hint=error.hint) from error


def _load_image_tokenizer(directory: Path, description: ModelDescription) -> ImageTokenizer | None:
    expected = description.image_tokenizer
    if expected is None:
        return None
    path = directory / IMAGE_TOKENIZER_FILE
    try:
        found = load_image_tokenizer(path)
    except FileError as error:
        raise CheckpointError(f"{path} is missing, and the model draws pictures.") from error
    if (found.grid_size, found.num_codes) != (expected.grid_size, expected.num_codes):
        raise CheckpointError(
            f"{path} makes {found.grid_size}² of {found.num_codes} codes, the model draws {expected.grid_size}² of "
            f"{expected.num_codes}; it belongs to another model."
        )
    return found


def _check_model(
    directory: Path, model: Transformer, *, vocabulary: Vocabulary, tasks: Mapping[str, Task[Any]]
) -> None:
    config = model.config
    if (config.text_vocab_size, config.num_image_codes) != (vocabulary.text_size, vocabulary.num_image_codes):
        raise CheckpointError(
            f"{directory}: the model reads {config.text_vocab_size} text and {config.num_image_codes} image ids, the "
            f"tokenizers make {vocabulary.text_size} and {vocabulary.num_image_codes}; they belong to different models."
        )
    for task in tasks.values():
        if task.head is not None and task.head not in model.head_specs:
            raise CheckpointError(
                f"{directory}: task {task.name} needs a {task.head.kind} head with {task.head.num_outputs} outputs, "
                "and the model has none like it."
            )
