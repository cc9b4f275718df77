"""From a model directory to a model that answers; everything that could be wrong with it is said here, in one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from banyan.core.devices import choose_device
from banyan.core.errors import BanyanError, CheckpointError, ConfigError, FileError
from banyan.core.files import sha256_of
from banyan.core.model_directory import BANYAN_FILE, IMAGE_TOKENIZER_FILE, MANIFEST, verify_manifest
from banyan.core.types import HeadSpec
from banyan.infer.engine import PREFIX_CACHE_BYTES, Engine
from banyan.model.adapters import check_adapter_name
from banyan.model.checkpoint import load_model
from banyan.model.peft_format import ADAPTER_WEIGHTS_FILE, read_adapter
from banyan.model.peft_format import load_adapter as attach_stored_adapter
from banyan.model.transformer import Transformer
from banyan.runtime.adapters import check_base, find_base, is_adapter, name_of_adapter
from banyan.runtime.defaults import answerable_tasks
from banyan.runtime.description import ModelDescription, read_description
from banyan.runtime.finishes import load_finishes
from banyan.runtime.loaded_model import LoadedModel
from banyan.tasks.base import Task
from banyan.tokenizers.images import ImageTokenizer, load_image_tokenizer
from banyan.tokenizers.vocabulary import Vocabulary
from banyan.tokenizers.vocabulary_loading import load_vocabulary


def load(
    directory: Path | str,
    *,
    device: str = "auto",
    num_slots: int = 16,
    prefix_cache_bytes: int = PREFIX_CACHE_BYTES,
    max_held_tokens: int | None = None,
    max_lookup_tokens: int = 0,
    base: Path | str | None = None,
) -> LoadedModel:
    """Open a model directory, check every file in it, and get the model ready to answer.

    `device` is auto, cpu or cuda; `num_slots` is how many answers can be written at once, `prefix_cache_bytes`,
    `max_held_tokens` and `max_lookup_tokens` are the engine's. An adapter is opened together with the model it was made
    for, and that answers under it; `base` is where the model lies, if it has moved.
    Raises: FileError if there is no such directory; CheckpointError in one line for whatever is wrong with it.
    """
    directory = Path(directory)
    size: dict[str, Any] = {"num_slots": num_slots, "prefix_cache_bytes": prefix_cache_bytes}
    size |= {"max_held_tokens": max_held_tokens, "max_lookup_tokens": max_lookup_tokens}
    if is_adapter(directory):
        return _load_with_base(directory, base=base, device=device, **size)
    if base is not None:
        raise ConfigError(f"base={base} is for adapters, and {directory} is a whole model.", hint="leave it out")
    target = choose_device(device)
    parts = read_parts(directory)
    model = load_model(directory, device=target)
    _check_model(directory, model, vocabulary=parts.vocabulary, tasks=parts.tasks, heads=model.head_specs)
    finishes = load_finishes(directory, model, parts.tasks)
    for adapter in (None, *finishes.values()):
        model.heads_under(adapter).set_table_shares(parts.description.table_shares)
    return LoadedModel(
        directory=directory,
        sha256=parts.sha256,
        description=parts.description,
        tasks=answerable_tasks(parts.tasks, chat=parts.vocabulary.chat),
        vocabulary=parts.vocabulary,
        image_tokenizer=parts.image_tokenizer,
        model=model,
        engine=Engine(model, parts.vocabulary, finishes=finishes, **size),
    )


def _load_with_base(directory: Path, *, base: Path | str | None, **how: Any) -> LoadedModel:
    if (directory / MANIFEST).exists():
        verify_manifest(directory)
    place = find_base(directory, given=None if base is None else Path(base))
    model = load(place, **how)
    try:
        return load_adapter(model, name_of_adapter(directory), directory)
    except BaseException:
        model.close()
        raise


def load_adapter(model: LoadedModel, name: str, directory: Path) -> LoadedModel:
    """Load an adapter for an open model and return the model as it answers under it.

    Raises: ConfigError if the name cannot be used; FileError or CheckpointError if the folder cannot, or was made for
    another model. The model is as before then.
    """
    check_adapter_name(name)
    model = model.trunk or model
    if name in model.adapters:
        raise ConfigError(f"the model has an adapter {name!r} already; give this one another name.")
    parts = _adapter_parts(directory, model)
    stored = read_adapter(directory, name=name, model=model.model)
    heads = model.model.head_specs if stored.heads is None else stored.heads
    _check_model(directory, model.model, vocabulary=parts.vocabulary, tasks=parts.tasks, heads=heads)
    attach_stored_adapter(model.model, directory, name=name)
    if stored.heads is not None:
        model.model.heads_under(name).set_table_shares(parts.description.table_shares)
    view = replace(
        model,
        directory=directory,
        sha256=parts.sha256,
        description=parts.description,
        tasks=answerable_tasks(parts.tasks, chat=parts.vocabulary.chat),
        vocabulary=parts.vocabulary,
        engine=model.engine.under(name),
        adapter=name,
        trunk=model,
    )
    model.adapters[name] = view
    return view


def _adapter_parts(directory: Path, model: LoadedModel) -> ModelParts:
    """Read what an adapter says of itself; one that says nothing, as of another tool, has the tasks of its model."""
    base = ModelParts(
        directory=model.directory,
        sha256=model.sha256,
        description=model.description,
        tasks=model.tasks,
        vocabulary=model.vocabulary,
        image_tokenizer=model.image_tokenizer,
    )
    if not (directory / BANYAN_FILE).is_file():
        weights = directory / ADAPTER_WEIGHTS_FILE
        return replace(base, directory=directory, sha256=sha256_of(weights) if weights.is_file() else "")
    verify_manifest(directory)
    description = read_description(directory)
    check_base(directory, description.adapter, sha256=model.sha256, place=model.directory)
    return replace(
        base,
        directory=directory,
        sha256=sha256_of(directory / MANIFEST),
        description=description,
        tasks=_build_tasks(directory, description),
        vocabulary=_load_vocabulary(model.directory, description),  # its text is cut as its model's
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

    Raises: as `load`; CheckpointError for an adapter, too.
    """
    if is_adapter(directory):
        raise CheckpointError(
            f"{directory} is an adapter, and this needs a whole model.",
            hint="merge it into its model first: docs/guides/lora.md says how",
        )
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
        raise CheckpointError(
            f"{directory} has a task that cannot be built: {error.message}", hint=error.hint
        ) from error
    if len(tasks) < len(description.tasks):
        raise CheckpointError(f"{directory} names a task twice: {', '.join(description.task_names)}.")
    return tasks


def _load_vocabulary(directory: Path, description: ModelDescription) -> Vocabulary:
    try:
        return load_vocabulary(
            directory,
            chat=description.chat,
            task_names=description.task_names,
            num_image_codes=description.num_image_codes,
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
    directory: Path,
    model: Transformer,
    *,
    vocabulary: Vocabulary,
    tasks: Mapping[str, Task[Any]],
    heads: Sequence[HeadSpec],
) -> None:
    config = model.config
    if (config.text_vocab_size, config.num_image_codes) != (vocabulary.text_size, vocabulary.num_image_codes):
        raise CheckpointError(
            f"{directory}: the model reads {config.text_vocab_size} text and {config.num_image_codes} image ids, the "
            f"tokenizers make {vocabulary.text_size} and {vocabulary.num_image_codes}; they belong to different models."
        )
    for task in tasks.values():
        if task.head is not None and task.head not in heads:
            raise CheckpointError(
                f"{directory}: task {task.name} needs a {task.head.kind} head with {task.head.num_outputs} outputs, "
                "and the model has none like it."
            )
