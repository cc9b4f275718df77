"""A recipe: everything that decides a training run, as one frozen object read from one YAML file."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import yaml

from banyan.core.config import apply_override, config, config_to_mapping, read_config, read_mapping
from banyan.core.errors import ConfigError, UnknownNameError
from banyan.core.registry import did_you_mean
from banyan.data.image_batch import PictureAugmentation
from banyan.data.mixture import MixtureConfig
from banyan.infer.sampling import SamplingConfig
from banyan.model.config import ModelConfig
from banyan.model.presets import MODEL_PRESETS, model_config
from banyan.model.products import Products
from banyan.tasks.config import TaskConfig
from banyan.train.config import TrainConfig
from banyan.train.distributed.config import ParallelConfig
from banyan.train.optimizer import OptimizerConfig
from banyan.train.precision import Precision
from banyan.train.schedule import ScheduleConfig
from banyan.train.trackers import TrackingConfig
from banyan.workflows.dial_keys import parse_budget, parse_size
from banyan.workflows.finish_recipe import FinishRecipe
from banyan.workflows.transfer_recipe import TransferRecipe, check_tasks_of_mode
from banyan.workflows.variation import check_noise, check_wordings

RECIPE_FILE = "recipe.yaml"  # in a run's folder and beside every checkpoint: as it was resolved
PICTURE_TOKENIZER = "image_tokenizer"  # what `kind:` says in the recipe of one, which lists no tasks
MAX_SEED = 2**63 - 1  # what a database can hold
_FOLDER_NAME = re.compile(r"\w[\w. -]{0,99}")


@config
class ModelRecipe:
    """A preset and what to change in it. Vocabulary and picture sizes follow from the data."""

    size: str | int | None = None  # weights outside the embeddings, such as 3M, or a preset; chooses what is left open
    preset: str = "banyan-nano"
    num_layers: int | None = None
    num_heads: int | None = None
    num_kv_heads: int | None = None
    head_dim: int | None = None
    embed_dim: int | None = None  # width of the residual stream
    ffn_dim: int | None = None
    max_seq_len: int | None = None  # positions the model can address, in tokens
    dropout: float | None = None  # probability, 0 <= p < 1

    def __post_init__(self) -> None:
        MODEL_PRESETS[self.preset]  # an unknown one says which is near
        if self.size is not None:
            parse_size(str(self.size))


@config
class TokenizerRecipe:
    """Which text tokenizer: a trained one from a file, or one trained on the recipe's own texts."""

    vocab_size: int = 4096  # ordinary tokens, at least 256
    path: str | None = None  # a tokenizer.json, or the folder it lies in, to use instead of training one
    max_training_bytes: int = 20_000_000  # of text; more adds time and changes little

    def __post_init__(self) -> None:
        if self.vocab_size < 256:
            raise ConfigError(
                f"tokenizer.vocab_size={self.vocab_size} is too small; every byte needs an entry: at least 256."
            )
        _check_positive("tokenizer", max_training_bytes=self.max_training_bytes)


@config
class ImageTokenizerRecipe:
    """Which picture tokenizer, where a task has pictures: a trained one, or one made here from few numbers.

    With a path, the sizes are those of the tokenizer that lies there.
    """

    path: str | None = None  # what `kind: image_tokenizer` trained: its file, or the folder it lies in
    kind: Literal["patch_codebook", "palette"] = "patch_codebook"  # learned by k-means, or fixed colours
    image_size: int | None = None  # pixels a side; null: as the first picture
    patch_size: int = 2  # pixels a side that one code stands for
    num_codes: int = 128
    copies: int = 0  # of every training picture beside it, each changed as `augment` allows
    copies_up_to: int | None = None  # pictures in all: a smaller set gets as many copies of each as fit; null: `copies`
    augment: PictureAugmentation = dataclasses.field(default_factory=PictureAugmentation)

    def __post_init__(self) -> None:
        if self.copies < 0:
            raise ConfigError(f"image_tokenizer.copies={self.copies} must be 0 or more.")
        asked = {"copies": self.copies, "copies_up_to": self.copies_up_to}
        if (key := next((key for key, num in asked.items() if num), None)) and not self.augment.changes_anything:
            raise ConfigError(
                f"image_tokenizer.{key}={asked[key]} would be copies of the same pictures.",
                hint="set image_tokenizer.augment={flip: true, crop_pixels: 2}, or what keeps your pictures' meaning",
            )
        if self.copies_up_to is not None:
            _check_positive("image_tokenizer", copies_up_to=self.copies_up_to)
        _check_positive("image_tokenizer", patch_size=self.patch_size, num_codes=self.num_codes)
        if self.image_size is not None:
            _check_positive("image_tokenizer", image_size=self.image_size)

    def num_copies(self, num_pictures: int) -> int:
        """Return how many copies each of so many training pictures gets."""
        return max(self.copies, (self.copies_up_to or 0) // max(1, num_pictures) - 1)


@config
class EvaluationRecipe:
    """How much is scored while training, and at the end."""

    num_validations: int = 10  # during training, where train.evaluate_every does not say
    max_validation_examples: int = 64  # per task, each time
    max_seconds: float | None = None  # of one validation: tasks that take long are scored on fewer; null: no limit
    validation_examples: dict[str, int] = dataclasses.field(default_factory=dict)  # by task; max_seconds fills it in
    keep_task_bests: bool = False  # also the checkpoint that is best for each task, in best_of/
    max_test_examples: int = 500  # per task: in the demo's report, and of what a child has forgotten

    def __post_init__(self) -> None:
        sizes = ("num_validations", "max_validation_examples", "max_test_examples")
        _check_positive("evaluation", **{name: getattr(self, name) for name in sizes})
        _check_positive("evaluation.validation_examples", **self.validation_examples)
        if self.max_seconds is not None and not 0 < self.max_seconds < math.inf:
            raise ConfigError(f"evaluation.max_seconds={self.max_seconds} must be above 0, or null for no limit.")


def check_run(*, name: str, seed: int, minutes: float | None) -> None:
    """Make sure that a run can have this name, seed and length.

    Raises: ConfigError.
    """
    if not _FOLDER_NAME.fullmatch(name):
        raise ConfigError(f"name={name!r} cannot be a folder's name; use letters, digits, - and _.")
    if not 0 <= seed <= MAX_SEED:
        raise ConfigError(f"seed={seed} must lie between 0 and {MAX_SEED}.")
    if minutes is not None and not 0 < minutes < math.inf:
        raise ConfigError(f"minutes={minutes} must be > 0, or null to use train.steps.")


def _check_positive(section: str, **sizes: int) -> None:
    for name, value in sizes.items():
        if value < 1:
            raise ConfigError(f"{section}.{name}={value} must be 1 or more.")


@config
class Recipe:
    """One training run."""

    name: str  # the run's folder below runs/
    tasks: tuple[TaskConfig, ...]
    seed: int = 0
    minutes: float | None = None  # wall-clock budget of training; a short probe turns it into train.steps
    device: str = "auto"
    model: ModelRecipe = dataclasses.field(default_factory=ModelRecipe)
    tokenizer: TokenizerRecipe = dataclasses.field(default_factory=TokenizerRecipe)
    image_tokenizer: ImageTokenizerRecipe = dataclasses.field(default_factory=ImageTokenizerRecipe)
    mixture: MixtureConfig = dataclasses.field(default_factory=MixtureConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = dataclasses.field(default_factory=ScheduleConfig)
    evaluation: EvaluationRecipe = dataclasses.field(default_factory=EvaluationRecipe)
    parallel: ParallelConfig = dataclasses.field(default_factory=ParallelConfig)
    tracking: TrackingConfig = dataclasses.field(default_factory=TrackingConfig)
    transfer: TransferRecipe = dataclasses.field(default_factory=TransferRecipe)
    sampling: dict[str, SamplingConfig] = dataclasses.field(default_factory=dict)  # task → how it answers by default
    finish: FinishRecipe | None = None  # after the run, each task a little by itself; null: not
    dial_keeps: tuple[str, ...] = ()  # keys that model.size and train.budget leave alone; filled in as a recipe is read

    def __post_init__(self) -> None:
        names = [task.name for task in self.tasks]
        if not names:
            raise ConfigError("tasks is empty; a recipe needs at least one task, for example kind: language_modeling.")
        if doubled := next((name for name in names if names.count(name) > 1), None):
            raise ConfigError(f"tasks has the name {doubled!r} twice; give each task its own name.")
        if unknown := next((name for name in self.sampling if name not in names), None):
            raise UnknownNameError(f"sampling names the task {unknown!r}{did_you_mean(unknown, names)}")
        rated = [*self.mixture.rates, *(name for point in self.mixture.schedule for name in point.rates)]
        if self.transfer.replay is None and (unknown := next((name for name in rated if name not in names), None)):
            raise UnknownNameError(f"mixture.rates names the task {unknown!r}{did_you_mean(unknown, names)}")
        finished = () if self.finish is None else self.finish.tasks
        if unknown := next((name for name in finished if name not in names), None):
            raise UnknownNameError(f"finish.tasks names the task {unknown!r}{did_you_mean(unknown, names)}")
        if unknown := next((name for name in self.evaluation.validation_examples if name not in names), None):
            raise UnknownNameError(
                f"evaluation.validation_examples names the task {unknown!r}{did_you_mean(unknown, names)}"
            )
        if self.train.precision == "int8" and self.parallel.tensor > 1:
            raise ConfigError(
                f"train.precision=int8 does not go together with parallel.tensor={self.parallel.tensor}: its products "
                "need whole matrices; use parallel.shard, or another precision."
            )
        check_run(name=self.name, seed=self.seed, minutes=self.minutes)
        if self.train.budget is not None:
            parse_budget(self.train.budget)
            if self.minutes is not None:
                raise ConfigError(
                    f"minutes={self.minutes} and train.budget={self.train.budget} both say how long to train; "
                    "minutes keeps the sizes of the recipe, train.budget chooses them. Set one of them to null."
                )
        if self.model.max_seq_len is not None and self.model.max_seq_len < self.train.seq_len:
            raise ConfigError(
                f"model.max_seq_len={self.model.max_seq_len} is shorter than train.seq_len={self.train.seq_len}; "
                "a training row must fit the context."
            )
        check_noise(self.train, self.transfer, self.parallel)
        check_wordings(self.tasks, self.transfer)
        self._check_transfer()

    def _check_transfer(self) -> None:
        if self.transfer.parent is None:
            return
        check_tasks_of_mode(self.transfer, self.tasks)
        chosen = {"model.size": self.model.size, "train.budget": self.train.budget}
        if key := next((key for key, value in chosen.items() if value is not None), None):
            raise ConfigError(
                f"{key}={chosen[key]} chooses sizes, and transfer.parent={self.transfer.parent} has them already.",
                hint="leave it out; minutes or train.steps say how long to train",
            )
        if self.tokenizer.path is not None:
            raise ConfigError(
                f"tokenizer.path={self.tokenizer.path} is not used: a child reads with the tokenizer of "
                f"transfer.parent={self.transfer.parent}.",
                hint="leave tokenizer.path out",
            )
        if self.transfer.unfreeze_every and self.parallel.shard * self.parallel.tensor > 1:
            raise ConfigError(
                f"transfer.unfreeze_every={self.transfer.unfreeze_every} does not go together with parallel.shard="
                f"{self.parallel.shard} and parallel.tensor={self.parallel.tensor}: a divided model learns as a whole.",
                hint="leave both at 1, or use transfer.layer_decay",
            )

    def resolve_model(self, *, vocab_size: int, num_image_codes: int, grid_size: int) -> ModelConfig:
        """Return the full model configuration for a vocabulary that is now known.

        The context is as long as a training row unless the recipe says otherwise.
        """
        fields = [field.name for field in dataclasses.fields(self.model) if field.name not in ("preset", "size")]
        given = {name: value for name in fields if (value := getattr(self.model, name)) is not None}
        sizes = {"vocab_size": vocab_size, "num_image_codes": num_image_codes, "grid_size": grid_size}
        return model_config(self.model.preset, {"max_seq_len": self.train.seq_len, **given, **sizes})

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the resolved recipe: two runs with the same one were asked the same thing."""
        return sha256(yaml.safe_dump(config_to_mapping(self), sort_keys=True).encode()).hexdigest()


def read_recipe(path: Path, *, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe with its parents and overrides; where it has a dial, remember which keys it gives itself.

    Raises: as `read_config`; ConfigError for a recipe of another kind.
    """
    if (kind := read_mapping(path).get("kind")) is not None:
        raise ConfigError(
            f"{path}: kind={kind} is not what this verb runs: a recipe that lists tasks has no kind.",
            hint=f"only `banyan train` runs kind: {PICTURE_TOKENIZER}",
        )
    recipe = read_config(Recipe, path, overrides=overrides)
    if recipe.model.size is None and recipe.train.budget is None:
        return recipe
    mapping = read_mapping(path)
    for override in overrides:
        apply_override(mapping, override)
    sections = ("model", "train", "optimizer")
    given = {f"{section}.{key}" for section in sections for key in mapping.get(section) or ()}
    return dataclasses.replace(recipe, dial_keeps=tuple(sorted({*given, *recipe.dial_keeps})))


def is_kept_from_dial(recipe: Recipe, key: str) -> bool:
    """Whether a key such as `train.steps` was given by the recipe: named as such, or not what it is by default."""
    section, _, name = key.partition(".")
    config: Any = getattr(recipe, section)
    default = next(field.default for field in dataclasses.fields(config) if field.name == name)
    return key in recipe.dial_keeps or getattr(config, name) != default


def with_steps(recipe: Recipe, steps: int) -> Recipe:
    """Return the recipe with its number of steps settled, so that a resumed run plans the same ones."""
    return dataclasses.replace(recipe, minutes=None, train=dataclasses.replace(recipe.train, steps=steps))


def with_products(recipe: Recipe, products: Products) -> Recipe:
    """Return the recipe with its routine for matrix products settled, so that a resumed run ends with the same bits."""
    return dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, products=products))


def with_precision(recipe: Recipe, precision: Precision) -> Recipe:
    """Return the recipe with its number format settled, so that a resumed run goes on in it."""
    return dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, precision=precision))


def describe(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe as plain values."""
    plain: dict[str, Any] = config_to_mapping(recipe)
    return plain
