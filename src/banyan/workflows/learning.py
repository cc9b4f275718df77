"""What a run's steps learn from, how that is weighed and scored: whole batches, or the features of a frozen trunk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from banyan.core.errors import ConfigError
from banyan.core.files import shown_bytes
from banyan.core.types import HeadKind, HeadSpec
from banyan.data.batch import BatchLoader
from banyan.data.features import FeatureLoader
from banyan.data.loader import MixtureLoader
from banyan.data.pace import Paces
from banyan.model.transformer import Transformer
from banyan.tasks.base import Task
from banyan.tasks.image_generation import ImageGeneration
from banyan.train.balance import TaskBalance, balance_tasks
from banyan.train.evaluations import Evaluator
from banyan.train.features import TrunkFeatures, feature_loss
from banyan.train.losses import joint_loss
from banyan.train.r_drop import r_drop_loss
from banyan.train.ranks import ALONE, Ranks, main_first
from banyan.train.step import LossFunction
from banyan.workflows.live_model import TASK_SCORES
from banyan.workflows.material import Material
from banyan.workflows.recipe import Recipe
from banyan.workflows.reporter import Reporter

FEATURES = "features"  # folder of a run: what its frozen trunk makes of the training data


@dataclass(frozen=True, kw_only=True, slots=True)
class Learning:
    """A stream of batches, and the loss that fits them."""

    loader: BatchLoader
    mixture: MixtureLoader  # what draws the rows of the loader
    loss_function: LossFunction
    task_heads: tuple[HeadSpec | None, ...]  # of the tasks it teaches


def new_loader(recipe: Recipe, material: Material) -> MixtureLoader:
    """Return the recipe's stream of mixed batches, at its beginning."""
    return MixtureLoader(
        material.sources,
        rates=material.rates,
        plan=material.plan,
        paces=_paces_of(recipe, material),
        epoch_examples={t.name: t.data.epoch_examples for t in recipe.tasks if t.data.epoch_examples},
        seq_len=recipe.train.seq_len,
        rows_per_batch=recipe.train.batch_seqs,
        pad_id=material.vocabulary.pad_id,
        task_names=[task.name for task in material.tasks],
        seed=recipe.seed,
    )


def _paces_of(recipe: Recipe, material: Material) -> Paces | None:
    mixture = recipe.mixture
    if mixture.slow_after is None:
        return None
    names = [source.task for source in material.sources]
    return Paces(names, slow_after=mixture.slow_after, slow_factor=mixture.slow_factor)


def whole_batches(recipe: Recipe, material: Material) -> Learning:
    """Return how a run learns that computes the whole model in every step."""
    heads = tuple(task.head for task in material.tasks)
    loader = new_loader(recipe, material)
    return Learning(loader=loader, mixture=loader, loss_function=_loss_of(recipe, heads), task_heads=heads)


def _loss_of(recipe: Recipe, heads: tuple[HeadSpec | None, ...]) -> LossFunction:
    smoothing, noise, strength = _smoothing_of(recipe), recipe.train.embedding_noise, recipe.train.r_drop
    if not strength:
        return partial(joint_loss, task_heads=heads, label_smoothing=smoothing, embedding_noise=noise)
    return partial(r_drop_loss, task_heads=heads, label_smoothing=smoothing, embedding_noise=noise, strength=strength)


def _smoothing_of(recipe: Recipe) -> tuple[float, ...]:
    return tuple(task.label_smoothing for task in recipe.tasks)


def _check_noise(recipe: Recipe, model: Transformer) -> None:
    if recipe.train.r_drop and not (recipe.train.embedding_noise or model.drops):
        raise ConfigError(
            f"train.r_drop={recipe.train.r_drop} compares two passes that would be the same: the model has "
            f"dropout={model.config.dropout}, and there is no train.embedding_noise.",
            hint="set model.dropout=0.1 (or the dropout of transfer.lora), or train.embedding_noise",
        )


def heard_by(mixture: MixtureLoader, evaluator: Evaluator) -> Evaluator:
    """Return an evaluator whose scores by task the mixture hears, on every rank; the others go on."""

    def evaluated(model: Any, step: int) -> Mapping[str, Any]:
        metrics = dict(evaluator(model, step))
        mixture.hear_scores(metrics.pop(TASK_SCORES))
        return metrics

    return evaluated


def prepare_learning(
    recipe: Recipe,
    model: Transformer,
    material: Material,
    *,
    run_directory: Path,
    reporter: Reporter,
    ranks: Ranks = ALONE,
) -> Learning:
    """Return how the run learns; where a trunk stays as it is, its features are computed now, or found in the run.

    Raises: SpaceError if they do not fit on the disk; ConfigError if R-Drop is asked for and nothing is random.
    """
    if recipe.transfer.mode != "head" or material.parent is None:
        _check_noise(recipe, model)
        return whole_batches(recipe, material)
    heads = tuple(task.head for task in material.tasks)
    first_block = model.config.num_layers - recipe.transfer.last_blocks
    reporter.stage("features of the frozen trunk")
    features = TrunkFeatures(
        model,
        sources=material.sources,
        task_heads={task.name: task.head for task in material.tasks},
        first_block=first_block,
        directory=run_directory / FEATURES,
        model_sha256=material.parent.sha256,
        number_format=recipe.transfer.cache,
    )
    with main_first(ranks):  # the others find the file
        features.fill(on_progress=partial(reporter.progress, note="features"))
    reporter.line(f"features of {features.num_rows} positions: {shown_bytes(features.num_bytes)}")
    mixture = new_loader(recipe, material)
    return Learning(
        loader=FeatureLoader(mixture, features),
        mixture=mixture,
        loss_function=partial(
            feature_loss, task_heads=heads, first_block=first_block, label_smoothing=_smoothing_of(recipe)
        ),
        task_heads=heads,
    )


def balance_of(recipe: Recipe, material: Material) -> TaskBalance:
    """Return how the recipe weighs its tasks against each other."""
    return balance_tasks(
        [task.head for task in material.tasks],
        num_choices=[_num_choices(task, recipe, material) for task in material.tasks],
        weights=[task.weight for task in recipe.tasks],
    )


def _num_choices(task: Task[Any], recipe: Recipe, material: Material) -> int:
    """Return among how many a target of the task is chosen: words, image codes, or the positions of a span."""
    if task.head is not None and task.head.kind is HeadKind.SPAN:
        return recipe.train.seq_len
    if isinstance(task, ImageGeneration):
        return task.num_codes
    return material.vocabulary.text_size
