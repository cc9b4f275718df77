"""`banyan train` of a judge: real labelled pictures → a frozen net in one file, known by its hash."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor

from banyan.core.config import config, config_from_mapping, config_to_mapping, read_config, read_mapping, write_config
from banyan.core.errors import BanyanError, CheckpointError, ConfigError, DataError, FileError
from banyan.core.files import atomic_write_bytes, sha256_of
from banyan.core.paths import runs_directory
from banyan.core.types import Image, Row
from banyan.model.picture_judge import MIN_IMAGE_SIZE, PictureJudge
from banyan.model.vision.autoencoder import MAX_IMAGE_SIZE
from banyan.tasks.config import TaskConfig, TaskDataConfig, build_task
from banyan.tasks.picture_classification import PictureClassification
from banyan.tasks.pictures import fit_picture
from banyan.tasks.reading import read_examples
from banyan.tokenizers.pictures import image_to_array
from banyan.train.picture_judge import JudgeTraining, judge_pictures, train_judge
from banyan.workflows.datasets import load_splits
from banyan.workflows.recipe import check_run
from banyan.workflows.reporter import Reporter

JUDGE_FILE = "judge.safetensors"
_KIND = "picture_judge"
_DESCRIPTION = "judge"  # key of the file's metadata
_LEARNED_FROM = "learned_from"  # tensor beside the net's


@config
class JudgeRecipe:
    """A net that judges pictures, and the labelled pictures it learns from."""

    kind: Literal["picture_judge"]
    name: str  # the folder below runs/
    data: TaskDataConfig
    seed: int = 1
    image_size: int | None = None  # pixels a side; null: as the first picture
    channels: Literal[1, 3] | None = None  # null: grey if no picture has a colour
    width: int = 32  # channels of the first resolution, a multiple of 8
    training: JudgeTraining = field(default_factory=JudgeTraining)

    def __post_init__(self) -> None:
        check_run(name=self.name, seed=self.seed, minutes=None)
        if self.image_size is not None:
            _check_size(self.image_size)
        if self.width < 8 or self.width % 8:
            raise ConfigError(f"width={self.width} must be a multiple of 8.")


def _check_size(image_size: int) -> None:
    if not MIN_IMAGE_SIZE <= image_size <= MAX_IMAGE_SIZE:
        raise ConfigError(
            f"image_size={image_size} cannot be judged; {MIN_IMAGE_SIZE} to {MAX_IMAGE_SIZE} pixels a side can.",
            hint="set image_size: pictures are scaled to it",
        )


@config
class JudgeDescription:
    """What is known of a judge beside its weights."""

    labels: tuple[str, ...]
    image_size: int
    channels: int
    width: int
    training: JudgeTraining
    num_pictures: int  # it learned from
    accuracy: float | None = None  # on held-out real pictures
    num_held_out: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What a judge sees in pictures."""

    features: NDArray[np.float64]
    labels: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedJudge:
    """A judge that is trained and does not change any more."""

    net: PictureJudge
    description: JudgeDescription
    sha256: str  # of its file; published with every figure
    learned_from: NDArray[np.int64]  # digests of the pictures it was trained on

    def pixels(self, images: Sequence[Image]) -> Tensor:
        """Return pictures as the net reads them, (N, C, Y, X), uint8."""
        return pixels_of(images, image_size=self.description.image_size, channels=self.description.channels)

    def look(self, images: Sequence[Image]) -> Seen:
        """Return the features of pictures of any size, and what is in them."""
        features, numbers = judge_pictures(self.net, self.pixels(images))
        return Seen(
            features=features.numpy(), labels=tuple(self.description.labels[number] for number in numbers.tolist())
        )

    def known_share(self, images: Sequence[Image]) -> float:
        """Return the share of pictures that it was trained on: of what a model is tested on, it should be none."""
        return float(np.isin(_digests_of(self.pixels(images)), self.learned_from).mean())


def pixels_of(images: Sequence[Image], *, image_size: int, channels: int) -> Tensor:
    """Return pictures of any size as one tensor, (N, C, Y, X), uint8."""
    fitted = (fit_picture(image, image_size=image_size, channels=channels) for image in images)
    stacked_NYXC = np.stack([image_to_array(image) for image in fitted])
    return torch.from_numpy(stacked_NYXC.transpose(0, 3, 1, 2).copy())


def _digests_of(pixels_NCYX: Tensor) -> NDArray[np.int64]:
    """Return eight bytes for each picture that only the same picture has."""
    digests = (sha256(one.numpy().tobytes()).digest()[:8] for one in pixels_NCYX)
    return np.array([int.from_bytes(digest, "little", signed=True) for digest in digests], dtype=np.int64)


def is_judge_recipe(path: Path) -> bool:
    """Whether a recipe trains a judge of pictures."""
    return read_mapping(path).get("kind") == _KIND


def read_judge_recipe(path: Path, *, overrides: Sequence[str] = ()) -> JudgeRecipe:
    """Read the recipe of a judge.

    Raises: as `read_config`.
    """
    return read_config(JudgeRecipe, path, overrides=overrides)


def train_judge_of(recipe: JudgeRecipe, *, reporter: Reporter, directory: Path | None = None) -> SavedJudge:
    """Train a judge and write it to runs/<name>/judge.safetensors.

    Raises: FileError, DataError for pictures that cannot be used.
    """
    directory = directory or runs_directory() / recipe.name
    reporter.stage("read data")
    splits = load_splits(_task_config(recipe), seed=recipe.seed)
    _check_labels(recipe, splits.described_by)
    task = build_task(_task_config(recipe), rows=splits.described_by)
    train, held_out = (
        [one for one in read_examples(task, rows, max_bad_fraction=recipe.data.max_bad_share).examples if one.label]
        for rows in (splits.train, splits.test or splits.validation)
    )
    labels = tuple(label for label in task.spec()["labels"] if label)
    size = recipe.image_size or max(train[0].image.width, train[0].image.height)
    channels = recipe.channels or max(one.image.channels for one in train)
    _check_size(size)
    pixels = pixels_of([one.image for one in train], image_size=size, channels=channels)
    numbers = torch.tensor([labels.index(one.label) for one in train])
    reporter.stage("train the judge")
    net = train_judge(
        pixels,
        numbers,
        num_labels=len(labels),
        width=recipe.width,
        how=recipe.training,
        seed=recipe.seed,
        on_step=lambda step, steps: reporter.progress(step, steps),
    )
    description = JudgeDescription(
        labels=labels,
        image_size=size,
        channels=channels,
        width=recipe.width,
        training=recipe.training,
        num_pictures=len(train),
        num_held_out=len(held_out),
    )
    judge = SavedJudge(net=net, description=description, sha256="", learned_from=np.unique(_digests_of(pixels)))
    return _save(_measured(judge, held_out), recipe, directory)


def _check_labels(recipe: JudgeRecipe, rows: Sequence[Row]) -> None:
    """Make sure that there is something to tell apart.

    Raises: DataError otherwise, or if the rows have no labels.
    """
    found = PictureClassification.fields_from_rows(rows, columns=recipe.data.columns)["labels"]
    if len(set(found) - {""}) < 2:
        raise DataError(
            f"{recipe.name}: all pictures of data.train have the label {found[0]!r}; a judge learns to tell at least "
            "two labels apart.",
            hint="give a folder for each class, or name the column of the labels: columns: {label: my_column}",
        )


def _task_config(recipe: JudgeRecipe) -> TaskConfig:
    return TaskConfig(name="judge", kind="picture_classification", data=recipe.data, reads_text=False)


def _measured(judge: SavedJudge, held_out: Sequence[Any]) -> SavedJudge:
    if not held_out:
        return judge
    seen = judge.look([one.image for one in held_out]).labels
    accuracy = float(np.mean([own == one.label for own, one in zip(seen, held_out, strict=True)]))
    mapping = {**config_to_mapping(judge.description), "accuracy": accuracy}
    return replace(judge, description=config_from_mapping(JudgeDescription, mapping))


def _save(judge: SavedJudge, recipe: JudgeRecipe, directory: Path) -> SavedJudge:
    metadata = {_DESCRIPTION: json.dumps(config_to_mapping(judge.description), sort_keys=True, ensure_ascii=False)}
    tensors = {name: value.contiguous() for name, value in judge.net.state_dict().items()}
    tensors[_LEARNED_FROM] = torch.from_numpy(judge.learned_from)
    directory.mkdir(parents=True, exist_ok=True)
    atomic_write_bytes(directory / JUDGE_FILE, safetensors.torch.save(tensors, metadata))
    write_config(directory / "recipe.yaml", recipe)
    return load_judge(directory)


def load_judge(path: Path) -> SavedJudge:
    """Read a judge from its file or the folder it lies in.

    Raises: FileError if there is none; CheckpointError if the file holds something else.
    """
    file = path / JUDGE_FILE if path.is_dir() else path
    if not file.is_file():
        raise FileError(
            f"{file} not found: there is no judge of pictures.",
            hint="train one on real pictures: banyan train recipes/picture-judge.yaml, or for your own "
            "recipes/picture-judge-own-folder.yaml",
        )
    try:
        with safe_open(file, framework="pt") as opened:
            mapping = json.loads((opened.metadata() or {})[_DESCRIPTION])
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - not a mapping
        description = config_from_mapping(JudgeDescription, mapping, source=str(file))
        net = PictureJudge(num_labels=len(description.labels), channels=description.channels, width=description.width)
        learned_from = tensors.pop(_LEARNED_FROM).numpy()
        net.load_state_dict(tensors)
    except (SafetensorError, BanyanError, KeyError, ValueError, RuntimeError) as error:
        problem = error.message if isinstance(error, BanyanError) else f"{type(error).__name__}: {error}"
        raise CheckpointError(f"{file} is no judge of pictures ({problem}).") from error
    frozen = net.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return SavedJudge(net=frozen, description=description, sha256=sha256_of(file), learned_from=learned_from)
