"""banyan.json: what a model directory says about itself beyond its weights: tasks, chat format, pictures, origin."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

from banyan.core.config import config, config_from_mapping, config_to_mapping
from banyan.core.errors import BanyanError, CheckpointError, ConfigError
from banyan.core.files import atomic_write_bytes, read_json
from banyan.core.model_directory import BANYAN_FILE, CONFIG_FILE, IMAGE_TOKENIZER_FILE
from banyan.core.registry import did_you_mean
from banyan.infer.sampling import SamplingConfig
from banyan.tasks.base import Task
from banyan.tasks.registry import task_from_spec
from banyan.tokenizers.chat_formats import BANYAN, CHAT_FORMATS
from banyan.tokenizers.images import ImageTokenizer

FORMAT = 1
_OF_A_MODEL = (BANYAN_FILE, CONFIG_FILE)


@config
class PictureFormat:
    """What kind of pictures a model draws, and as how many codes."""

    kind: str  # of image tokenizer
    image_size: int  # pixels, rows = columns
    channels: int  # 1 grey, 3 RGB
    grid_size: int  # codes, rows = columns
    num_codes: int


@config
class AdapterOrigin:
    """The model that an adapter was made for, and where it lay then."""

    name: str  # of the adapter
    base: str  # folder of the model, absolute
    base_from_here: str  # the same, seen from the adapter's folder
    base_sha256: str  # of the model's manifest


@config
class ModelDescription:
    """Everything about a model that is neither weights nor tokenizer."""

    tasks: tuple[dict[str, Any], ...] = ()  # `Task.spec()` of each; its place is the number of its task token
    format: int = FORMAT
    chat: str = BANYAN.name  # how a conversation is laid out in tokens
    image_tokenizer: PictureFormat | None = None  # None: the model does not draw
    sampling: dict[str, SamplingConfig] = field(default_factory=dict)  # task name → how it answers by default
    temperatures: dict[str, float] = field(default_factory=dict)  # task name → its labels' logits are divided by it
    table_shares: dict[str, float] = field(default_factory=dict)  # task name → its head's table's part of the logits
    dataset_fingerprint: str | None = None  # of what it was trained on
    recipe_sha256: str | None = None  # of the resolved recipe
    parent: str | None = None  # the model it was made from
    parent_sha256: str | None = None  # of that model's manifest
    adapter: AdapterOrigin | None = None  # the folder holds an adapter; None: a whole model

    def __post_init__(self) -> None:
        if self.format != FORMAT:
            raise ConfigError(f"format {self.format} is not known; this Banyan reads format {FORMAT}.")
        if self.chat not in CHAT_FORMATS:
            raise ConfigError(f"chat format {self.chat!r} is not known{did_you_mean(self.chat, CHAT_FORMATS)}")
        if wrong := next((name for name, value in self.temperatures.items() if not 0 < value < math.inf), None):
            raise ConfigError(f"temperatures.{wrong}={self.temperatures[wrong]!r} must be a finite number above 0.")
        if wrong := next((name for name, value in self.table_shares.items() if not 0 <= value <= 1), None):
            raise ConfigError(f"table_shares.{wrong}={self.table_shares[wrong]!r} must lie between 0 and 1.")

    @property
    def task_names(self) -> tuple[str, ...]:
        """Names of the tasks, in the order of their task tokens."""
        return tuple(str(spec.get("name")) for spec in self.tasks)

    @property
    def num_image_codes(self) -> int:
        """Image codes in the model's vocabulary."""
        return self.image_tokenizer.num_codes if self.image_tokenizer else 0

    def build_tasks(self) -> dict[str, Task[Any]]:
        """Return the tasks by name, in the order of their task tokens.

        Raises: ConfigError for a task this version cannot build.
        """
        return {task.name: task for task in map(task_from_spec, self.tasks)}


def describe_model(
    tasks: Sequence[Task[Any]],
    *,
    chat: str = BANYAN.name,
    image_tokenizer: ImageTokenizer | None = None,
    sampling: Mapping[str, SamplingConfig] | None = None,
    dataset_fingerprint: str | None = None,
    recipe_sha256: str | None = None,
    parent: str | None = None,
    parent_sha256: str | None = None,
) -> ModelDescription:
    """Return the description of a model that was taught these tasks, in this order."""
    return ModelDescription(
        tasks=tuple(task.spec() for task in tasks),
        chat=chat,
        image_tokenizer=None if image_tokenizer is None else _picture_format(image_tokenizer),
        sampling=dict(sampling or {}),
        dataset_fingerprint=dataset_fingerprint,
        recipe_sha256=recipe_sha256,
        parent=parent,
        parent_sha256=parent_sha256,
    )


def description_to_bytes(description: ModelDescription) -> bytes:
    """Return the content of banyan.json."""
    mapping = config_to_mapping(description)
    ordered = {"format": mapping.pop("format"), **mapping}
    return (json.dumps(ordered, ensure_ascii=False, indent=2) + "\n").encode("utf-8")


def write_description(directory: Path, description: ModelDescription) -> None:
    """Write banyan.json into a model directory."""
    atomic_write_bytes(directory / BANYAN_FILE, description_to_bytes(description))


def read_description(directory: Path) -> ModelDescription:
    """Read banyan.json of a model directory.

    Raises: CheckpointError if it is missing, not JSON, or says what this version cannot read.
    """
    path = directory / BANYAN_FILE
    if (directory / IMAGE_TOKENIZER_FILE).is_file() and not any((directory / one).is_file() for one in _OF_A_MODEL):
        raise CheckpointError(
            f"{directory} holds a picture tokenizer and no model.",
            hint="name the run of a recipe that draws with it, as image_tokenizer.path",
        )
    try:
        mapping = read_json(path)
        if not isinstance(mapping, dict):
            raise CheckpointError("it must be a JSON object.")
        return config_from_mapping(ModelDescription, mapping, source=BANYAN_FILE)
    except BanyanError as error:
        raise CheckpointError(f"{path} cannot be used: {error.message}", hint=error.hint) from error


def _picture_format(tokenizer: ImageTokenizer) -> PictureFormat:
    return PictureFormat(
        kind=tokenizer.kind,
        image_size=tokenizer.image_size,
        channels=tokenizer.channels,
        grid_size=tokenizer.grid_size,
        num_codes=tokenizer.num_codes,
    )
