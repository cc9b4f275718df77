"""The recipe of a picture tokenizer: everything that decides its training, read from one YAML file."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from banyan.core.config import config, read_config, read_mapping
from banyan.core.errors import ConfigError
from banyan.data.image_batch import PictureAugmentation
from banyan.model.products import Products
from banyan.model.vision.autoencoder import AutoencoderConfig
from banyan.tasks.config import TaskDataConfig
from banyan.tokenizers.pictures import WHITE, Colour
from banyan.train.average import AverageConfig
from banyan.train.compilation import Compile
from banyan.train.config import TrainConfig
from banyan.train.optimizer import OptimizerConfig
from banyan.train.picture_loss import PictureLossConfig
from banyan.train.schedule import ScheduleConfig
from banyan.train.trackers import TrackingConfig
from banyan.workflows.datasets import resolve_places
from banyan.workflows.recipe import PICTURE_TOKENIZER, check_run
from banyan.workflows.resuming import refuse_changes
from banyan.workflows.sidecars import RECIPE_FILE

_HELD_OUT = 0.05  # of the training pictures, where a recipe names none to validate on


@config
class PicturesRecipe:
    """How pictures are brought to one form."""

    image_size: int | None = None  # pixels a side; null: as the first picture
    channels: Literal[1, 3] | None = None  # 1 grey, 3 RGB; null: grey if no picture has a colour
    background: Colour = WHITE  # behind transparent pictures, and beside those that are not square
    augment: PictureAugmentation = dataclasses.field(default_factory=PictureAugmentation)

    def __post_init__(self) -> None:
        if self.image_size is not None and self.image_size < 1:
            raise ConfigError(f"pictures.image_size={self.image_size} must be 1 or more.")
        if not all(0 <= value <= 255 for value in self.background):
            raise ConfigError(f"pictures.background={list(self.background)} must be three numbers from 0 to 255.")


@config
class TokenizerRecipe:
    """Sizes of the autoencoder, and how its latents become codes."""

    quantizer: Literal["fsq", "vq"] = "fsq"
    levels: tuple[int, ...] = (8, 5, 5, 5)  # fsq: of each number in a cell; their product is the codebook
    num_codes: int = 1024  # vq
    code_dim: int = 8  # vq: numbers in a cell
    widths: tuple[int, ...] = (48, 96)  # channels of each level; every level halves the resolution
    num_blocks: int = 1  # residual blocks in each level, of encoder and decoder

    def sizes(self, *, image_size: int, channels: int) -> AutoencoderConfig:
        """Return the sizes for pictures that are now known.

        Raises: ConfigError if they do not fit.
        """
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return AutoencoderConfig(image_size=image_size, channels=channels, **fields)


@config
class PictureTrainConfig(TrainConfig):
    """The keys of `train` with what suits pictures: no rows of tokens, an average of the weights."""

    micro_batch_seqs: int = 64  # pictures in one forward pass
    seq_len: int = 1  # a picture is one row
    average: AverageConfig | None = dataclasses.field(default_factory=AverageConfig)
    products: Products = "torch"  # convolutions have one routine
    compile: Compile = False
    conflicts_every: int | None = None  # the parts of one loss are meant to pull in different directions


@config
class PictureOptimizerConfig(OptimizerConfig):
    """The keys of `optimizer` with what suits convolutions."""

    name: Literal["muon", "adamw"] = "adamw"
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2


@config
class PictureScheduleConfig(ScheduleConfig):
    """The keys of `schedule`, with a half cosine down."""

    name: Literal["wsd", "cosine", "linear", "constant", "one_cycle"] = "cosine"


@config
class PictureEvaluation:
    """How much is scored while training."""

    num_validations: int = 10
    max_pictures: int = 2000  # each time
    num_shown: int = 16  # on the sheet of reconstructions

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if getattr(self, field.name) < 1:
                raise ConfigError(f"evaluation.{field.name}={getattr(self, field.name)} must be 1 or more.")


@config
class PictureTokenizerRecipe:
    """One training run of a picture tokenizer."""

    kind: Literal["image_tokenizer"]
    name: str  # the run's folder below runs/
    data: TaskDataConfig  # columns: image, and a label where pictures have one
    seed: int = 0
    minutes: float | None = None  # wall-clock budget of training; a short probe turns it into train.steps
    device: str = "auto"
    pictures: PicturesRecipe = dataclasses.field(default_factory=PicturesRecipe)
    tokenizer: TokenizerRecipe = dataclasses.field(default_factory=TokenizerRecipe)
    loss: PictureLossConfig = dataclasses.field(default_factory=PictureLossConfig)
    train: PictureTrainConfig = dataclasses.field(default_factory=PictureTrainConfig)
    optimizer: PictureOptimizerConfig = dataclasses.field(default_factory=PictureOptimizerConfig)
    schedule: PictureScheduleConfig = dataclasses.field(default_factory=PictureScheduleConfig)
    evaluation: PictureEvaluation = dataclasses.field(default_factory=PictureEvaluation)
    tracking: TrackingConfig = dataclasses.field(default_factory=TrackingConfig)

    def __post_init__(self) -> None:
        check_run(name=self.name, seed=self.seed, minutes=self.minutes)
        if self.data.train is None:
            raise ConfigError("data.train is missing; name the pictures to learn from.")
        if self.train.budget is not None:
            raise ConfigError(
                f"train.budget={self.train.budget} chooses the sizes of a model that writes; use minutes."
            )


def is_picture_tokenizer(path: Path) -> bool:
    """Whether a recipe is one of a picture tokenizer.

    Raises: FileError, ConfigError if it cannot be read.
    """
    return read_mapping(path).get("kind") == PICTURE_TOKENIZER


def read_picture_recipe(path: Path, *, overrides: Sequence[str] = ()) -> PictureTokenizerRecipe:
    """Read the recipe of a picture tokenizer with its parents and overrides.

    Raises: as `read_config`.
    """
    return read_config(PictureTokenizerRecipe, path, overrides=overrides)


def settle_picture_recipe(
    recipe: PictureTokenizerRecipe, run_directory: Path, *, resume: bool
) -> PictureTokenizerRecipe:
    """Return the recipe with absolute paths and pictures to validate on; that of a resumed run must be as it was.

    Raises: ConfigError naming a key that may not change and has.
    """
    data = dataclasses.replace(recipe.data, **_places(recipe.data))
    recipe = dataclasses.replace(recipe, data=_with_held_out(data))
    path = run_directory / RECIPE_FILE
    if not resume or not path.is_file():
        return recipe
    saved = read_config(PictureTokenizerRecipe, path)
    recipe = spread_evaluations(recipe if recipe.minutes is None else with_steps(recipe, saved.train.steps))
    refuse_changes(saved, recipe, run_directory)
    return recipe


def _places(data: TaskDataConfig) -> dict[str, Any]:
    return dict(resolve_places(data))


def _with_held_out(data: TaskDataConfig) -> TaskDataConfig:
    if data.validation is not None or data.validation_fraction:
        return data
    return dataclasses.replace(data, validation_fraction=_HELD_OUT)


def with_steps(recipe: PictureTokenizerRecipe, steps: int) -> PictureTokenizerRecipe:
    """Return the recipe with its number of steps settled, so that a resumed run plans the same ones."""
    return dataclasses.replace(recipe, minutes=None, train=dataclasses.replace(recipe.train, steps=steps))


def spread_evaluations(recipe: PictureTokenizerRecipe) -> PictureTokenizerRecipe:
    """Spread the recipe's number of evaluations over its steps, the last one at the last step."""
    if recipe.train.evaluate_every is not None:
        return recipe
    interval = math.ceil(recipe.train.steps / recipe.evaluation.num_validations)
    return dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, evaluate_every=interval))
