"""The model a run begins with: where it lies, what its child takes over, and how the child differs from it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from banyan.core.errors import CheckpointError, ConfigError, DataError, FileError
from banyan.core.files import read_json, read_text, sha256_of
from banyan.core.model_directory import MANIFEST, TOKENIZER_FILE, name_of, verify_manifest
from banyan.core.types import MaskKind
from banyan.infer.sampling import SamplingConfig
from banyan.model.checkpoint import load_model, read_model_description
from banyan.model.config import ModelConfig
from banyan.model.transformer import Transformer
from banyan.runtime.adapters import is_adapter
from banyan.runtime.description import read_description
from banyan.runtime.loading import ModelParts, read_parts
from banyan.tasks.base import Task
from banyan.tasks.config import TaskConfig
from banyan.tasks.registry import TASK_KINDS
from banyan.tasks.translation import Translation
from banyan.tokenizers.bpe import BytePairTokenizer
from banyan.tokenizers.vocabulary import Vocabulary
from banyan.train.checkpoints import CheckpointFolder
from banyan.workflows.child_sizes import child_config
from banyan.workflows.new_vocabulary import VocabularyChange, vocabulary_change
from banyan.workflows.recipe import Recipe
from banyan.workflows.reporter import Reporter

_MAX_TOKENIZER_BYTES = 64 << 20  # the largest in public use have half of that


@dataclass(frozen=True, kw_only=True, slots=True)
class Parent:
    """Everything about a model that a run begins with; its weights are read when they are asked for."""

    name: str  # what banyan.json of the child says of it
    sha256: str  # of its manifest
    parts: ModelParts
    config: ModelConfig
    change: VocabularyChange | None = None  # of its vocabulary, that the child begins with

    @property
    def tasks(self) -> dict[str, Task[Any]]:
        """Its tasks by name, in the order of their task tokens."""
        return dict(self.parts.tasks)

    @property
    def vocabulary(self) -> Vocabulary:
        """What its child reads, with its own tasks."""
        return self.parts.vocabulary if self.change is None else self.change.vocabulary

    def sampling_of(self, tasks: Sequence[Task[Any]]) -> dict[str, SamplingConfig]:
        """Return how those of the tasks that it has answer by default."""
        names = {task.name for task in tasks}
        return {name: how for name, how in self.parts.description.sampling.items() if name in names}

    def needs_image_tokenizer(self, tasks: Sequence[TaskConfig]) -> bool:
        """Return whether a task has pictures for which an image tokenizer is to be trained: codes, and none yet.

        Raises: ConfigError if a task has pictures, and it has no codes for them.
        """
        drawing = [task.name for task in tasks if TASK_KINDS[task.kind].has_pictures]
        if drawing and not self.vocabulary.num_image_codes:
            raise ConfigError(
                f"task {drawing[0]} has pictures, and the parent {self.name} has no image codes.",
                hint="begin with a model that draws, or set transfer.grow_vocabulary.num_image_codes and grid_size",
            )
        return bool(drawing) and self.parts.image_tokenizer is None

    def check_shards(self, folders: Sequence[Path]) -> None:
        """Make sure that prepared shards were cut by its own tokenizer.

        Raises: DataError.
        """
        for folder in folders:
            if not _is_tokenizer_of(self.vocabulary, folder / TOKENIZER_FILE):
                raise DataError(
                    f"the shards of {folder} were not cut by the tokenizer of the parent {self.name}.",
                    hint=f"prepare them again with --tokenizer {self.parts.directory}",
                )

    def read_weights(self) -> Transformer:
        """Return the parent itself, with the rows of its child's vocabulary.

        Raises: CheckpointError if its weights cannot be read.
        """
        model = load_model(self.parts.directory)
        return model if self.change is None else self.change.apply(model)


def _is_tokenizer_of(vocabulary: Vocabulary, path: Path) -> bool:
    if vocabulary.foreign is None:
        return BytePairTokenizer.from_json(read_text(path)).to_json() == vocabulary.text.to_json()
    return bool(
        read_json(path, max_bytes=_MAX_TOKENIZER_BYTES) == json.loads(vocabulary.foreign.to_files()[TOKENIZER_FILE])
    )


def settle_parent(recipe: Recipe) -> Recipe:
    """Return the recipe with its parent's place absolute and the hash of its manifest filled in.

    Raises: FileError if it is not there; CheckpointError if it is not whole, or not the one the recipe was written for.
    """
    transfer = recipe.transfer
    if transfer.parent is None:
        return recipe
    directory = find_parent(Path(transfer.parent))
    if not directory.is_dir():
        raise FileError(
            f"transfer.parent={directory} is not there.",
            hint="give a model directory or a run; a run that teaches an adapter needs it to the end",
        )
    verify_manifest(directory)
    found = sha256_of(directory / MANIFEST)
    if transfer.parent_sha256 not in (None, found):
        raise CheckpointError(
            f"transfer.parent={directory} is not the model this recipe was written for: its manifest has sha256 "
            f"{found[:16]}…, transfer.parent_sha256 is {str(transfer.parent_sha256)[:16]}….",
            hint="bring the earlier model back, or leave transfer.parent_sha256 out",
        )
    settled = dataclasses.replace(transfer, parent=str(directory), parent_sha256=found)
    return dataclasses.replace(recipe, transfer=settled)


def tell_of_parent(asked: Recipe, settled: Recipe, *, reporter: Reporter) -> None:
    """Say with which checkpoint a run begins, where its recipe names another run."""
    before, now = asked.transfer.parent, settled.transfer.parent
    if before is not None and now is not None and Path(before).absolute() != Path(now):
        reporter.line(f"transfer.parent={before} is a run: this one begins with its best checkpoint, {now}")


def tasks_of_parent(recipe: Recipe) -> dict[str, Task[Any]]:
    """Return the tasks of the model a recipe begins with, by name; none without a parent.

    Raises: CheckpointError if it does not say them.
    """
    parent = recipe.transfer.parent
    return {} if parent is None else read_description(find_parent(Path(parent))).build_tasks()


def with_saved_parent(recipe: Recipe, saved: Recipe) -> Recipe:
    """Return the recipe of a run that goes on, with its parent as the run began with it: it need not be there now."""
    transfer, before = recipe.transfer, saved.transfer
    if transfer.parent is None or before.parent is None:
        return recipe
    is_same = transfer.parent == before.parent or _same_place(Path(transfer.parent), Path(before.parent))
    parent = before.parent if is_same else transfer.parent
    sha256 = transfer.parent_sha256 or before.parent_sha256
    return dataclasses.replace(recipe, transfer=dataclasses.replace(transfer, parent=parent, parent_sha256=sha256))


def _same_place(asked: Path, begun: Path) -> bool:
    """Whether two names mean the same model, of which only the second is sure to say so itself."""
    return begun in (asked.absolute(), asked.absolute() / "best")


def find_parent(path: Path) -> Path:
    """Return the absolute folder of a model; a run means its best checkpoint."""
    path = path.absolute()
    best = path / "best"
    return best if not (path / MANIFEST).exists() and best.is_dir() else path


def open_parent(recipe: Recipe, run_directory: Path) -> Parent | None:
    """Return what a run begins with, or goes on from: once it has saved, that is its own newest checkpoint.

    So a run that is resumed does not need the parent any more, unless it teaches an adapter.
    Raises: FileError, CheckpointError if neither can be used; ConfigError if the recipe asks for other sizes.
    """
    if recipe.transfer.parent is None:
        return None
    teaches_adapter = recipe.transfer.lora is not None  # its checkpoints hold no model that one could go on with
    own = None if teaches_adapter else newest_checkpoint(run_directory)
    directory = own or Path(recipe.transfer.parent)
    _refuse_adapter(directory)
    parts = read_parts(directory)
    config, _ = read_model_description(directory)
    child_config(recipe, config)  # here, before the parent writes texts for a child that it cannot have
    if teaches_adapter:
        _check_unchanged(directory, found=parts.sha256, expected=recipe.transfer.parent_sha256)
    return Parent(
        name=name_of(Path(recipe.transfer.parent)),
        sha256=recipe.transfer.parent_sha256 or parts.sha256,
        parts=parts,
        config=config,
        change=None if own else vocabulary_change(recipe.transfer, parts.vocabulary),
    )


def _refuse_adapter(directory: Path) -> None:
    if is_adapter(directory):
        raise CheckpointError(
            f"transfer.parent={directory} is an adapter, and a run begins with a whole model.",
            hint="merge it into its model first: docs/guides/lora.md says how",
        )


def _check_unchanged(directory: Path, *, found: str, expected: str | None) -> None:
    if expected not in (None, found):
        raise CheckpointError(
            f"transfer.parent={directory} is not the model that the run began with: its manifest has sha256 "
            f"{found[:16]}…, then it was {str(expected)[:16]}….",
            hint="bring the earlier model back: a run that teaches an adapter needs it to the end",
        )


def newest_checkpoint(run_directory: Path) -> Path | None:
    """Return the newest checkpoint of a run whose files are as they were written, if there is one."""
    folder = CheckpointFolder(run_directory)
    for step in reversed(folder.steps()):
        try:
            verify_manifest(folder.path(step))
        except CheckpointError:
            continue
        return folder.path(step)
    return None


def child_tasks(parent: Parent, tasks: Sequence[Task[Any]], *, keep_tasks: bool) -> tuple[Task[Any], ...]:
    """Return all tasks of a child in the order of their task tokens: the parent's in their places, then new ones.

    Raises: ConfigError if a task has the name of another task of the parent.
    """
    named = {task.name: task for task in tasks}
    for name, task in named.items():
        if name in parent.tasks:
            _check_same_task(parent.tasks[name], task)
    inherited = [named.get(name, task) for name, task in parent.tasks.items() if keep_tasks or name in named]
    return (*inherited, *(task for name, task in named.items() if name not in parent.tasks))


def _check_same_task(before: Task[Any], now: Task[Any]) -> None:
    if before.kind != now.kind or before.head != now.head:
        raise ConfigError(
            f"task {now.name} of the recipe is not the parent's task of that name: {_in_short(now)}, there "
            f"{_in_short(before)}.",
            hint="give it a name of its own, or take the parent's labels",
        )


def _in_short(task: Task[Any]) -> str:
    labels = "" if task.head is None else f" with the outputs {', '.join(task.head.labels) or task.head.num_outputs}"
    return f"{task.kind}{labels}"


def with_inherited_labels(config: TaskConfig, parent: Parent | None) -> TaskConfig:
    """Return a task's config with the labels its parent has for it, where the recipe does not name any."""
    before = None if parent is None else parent.tasks.get(config.name)
    labels = getattr(before, "labels", ())
    if before is None or before.kind != config.kind or config.labels or not labels:
        return config
    return dataclasses.replace(config, labels=tuple(labels))


def with_inherited_directions(task: Task[Any], parent: Parent | None) -> Task[Any]:
    """Return a translation task with the directions its parent was taught, too; unknown ones stay unknown."""
    before = None if parent is None else parent.tasks.get(task.name)
    if not isinstance(task, Translation) or not isinstance(before, Translation):
        return task
    both = {*task.directions, *before.directions} if before.directions else ()
    return dataclasses.replace(task, directions=tuple(sorted(both)))


def read_as_the_parent_does(config: TaskConfig, parent: Parent | None) -> TaskConfig:
    """Return a task's config that is read as its parent reads it, where the recipe does not say how.

    A new task of a parent with foreign tokens that has only ever read from left to right is read so, too.
    """
    if parent is None:
        return config
    before = parent.tasks.get(config.name)
    if before is not None and config.preprocess is None:
        config = dataclasses.replace(config, preprocess=before.preprocess)
    if config.mask is not None or not TASK_KINDS[config.kind].may_choose_mask:
        return config
    if before is not None:
        return dataclasses.replace(config, mask=before.mask)
    reads_causally = all(task.reading is MaskKind.CAUSAL for task in parent.tasks.values())
    is_foreign = parent.vocabulary.foreign is not None
    return dataclasses.replace(config, mask="causal") if is_foreign and reads_causally else config
