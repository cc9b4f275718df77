"""`banyan train` of a picture tokenizer: its recipe → a run directory whose checkpoints are tokenizers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch

from banyan.core.config import config_to_mapping
from banyan.core.devices import choose_device
from banyan.core.errors import ConfigError, DataError, FileError
from banyan.core.files import read_json
from banyan.core.locks import hold_directory
from banyan.core.paths import runs_directory
from banyan.core.process import process_place
from banyan.data.batch import BatchLoader
from banyan.data.image_batch import PictureLoader
from banyan.model.transformer import count_parameters
from banyan.model.vision.features import MIN_IMAGE_SIZE
from banyan.model.vision.learner import TokenizerLearner
from banyan.train.callbacks import Callback, EventRecord, FitResult
from banyan.train.checkpoints import CheckpointFolder
from banyan.train.interrupt import InterruptWatch
from banyan.train.measure import measure_step_seconds
from banyan.train.picture_loss import PictureLoss
from banyan.train.trackers import build_trackers, require_trackers
from banyan.train.trainer import Trainer
from banyan.workflows.datasets import spread
from banyan.workflows.picture_tokenizer.files import DESCRIPTION_FILE, LearnerFiles, picture_sidecars
from banyan.workflows.picture_tokenizer.pictures import PictureMaterial, gather_pictures
from banyan.workflows.picture_tokenizer.recipe import (
    PictureTokenizerRecipe,
    settle_picture_recipe,
    spread_evaluations,
    with_steps,
)
from banyan.workflows.picture_tokenizer.scoring import TokenizerEvaluator
from banyan.workflows.reporter import Reporter
from banyan.workflows.run_beginning import SaveRecipe, seconds_to_time, steps_within
from banyan.workflows.training_progress import ReportProgress


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureTokenizerOutcome:
    """What a run left behind."""

    run_directory: Path
    recipe: PictureTokenizerRecipe  # resolved: its steps are settled
    material: PictureMaterial
    result: FitResult
    num_parameters: int  # of the tokenizer, without the nets that only training needs


def train_picture_tokenizer(
    recipe: PictureTokenizerRecipe,
    *,
    reporter: Reporter,
    resume: bool = False,
    callbacks: Sequence[Callback] = (),
    run_directory: Path | None = None,
    accept_data_change: bool = False,
) -> PictureTokenizerOutcome:
    """Train the picture tokenizer a recipe describes; an interrupted run returns too, and says so.

    Raises: every error of data, configuration, disk and training, each with its own exit code.
    """
    require_trackers(recipe.tracking.services)
    if process_place().world_size > 1:
        raise ConfigError("a picture tokenizer is trained by one process.", hint="start it without --nproc")
    run_directory = run_directory or runs_directory() / recipe.name
    with hold_directory(run_directory):
        if not resume:
            CheckpointFolder(run_directory).require_fresh()
        recipe = settle_picture_recipe(recipe, run_directory, resume=resume)
        reporter.stage("read pictures")
        material = gather_pictures(recipe)
        learned = _learned_data(run_directory) if resume else None
        if learned not in (None, material.fingerprint) and not accept_data_change:
            raise DataError(
                f"cannot resume {run_directory}: its pictures are not those the run began with.",
                hint="bring the earlier files back, or go on with --accept-data-change",
            )
        return _fit(
            recipe,
            material,
            run_directory=run_directory,
            reporter=reporter,
            resume=resume,
            callbacks=callbacks,
            has_changed=learned not in (None, material.fingerprint),
        )


def _learned_data(run_directory: Path) -> str | None:
    """Return the fingerprint of the pictures a run has learned from, or None if it has not saved."""
    try:
        found = read_json(run_directory / "last" / DESCRIPTION_FILE)
    except FileError:
        return None
    return cast(str | None, found.get("dataset_fingerprint")) if isinstance(found, dict) else None


def _fit(
    recipe: PictureTokenizerRecipe,
    material: PictureMaterial,
    *,
    run_directory: Path,
    reporter: Reporter,
    resume: bool,
    callbacks: Sequence[Callback],
    has_changed: bool,
) -> PictureTokenizerOutcome:
    loss = PictureLoss(recipe.loss, is_fsq=recipe.tokenizer.quantizer == "fsq")
    model = new_learner(recipe, material).to(choose_device(recipe.device))
    recipe = spread_evaluations(_settle_steps(recipe, model, material, loss, reporter=reporter))
    settings = config_to_mapping(recipe)
    interrupt = InterruptWatch()
    trainer = Trainer(
        model,
        loader=_loader(recipe, material, loss),
        task_names=loss.names,
        task_heads=[None] * len(loss.names),
        loss_function=loss,
        config=recipe.train,
        optimizer=recipe.optimizer,
        schedule=recipe.schedule,
        run_directory=run_directory,
        sidecars=picture_sidecars(recipe, material, model),
        callbacks=(
            SaveRecipe(recipe),
            ReportProgress(reporter),
            *build_trackers(recipe.tracking, name=recipe.name, settings=settings, log_every=recipe.train.log_every),
            *callbacks,
        ),
        evaluator=_evaluator(recipe, material, run_directory, interrupt=interrupt),
        seed=recipe.seed,
        balance=loss.balance,
        weight_files=LearnerFiles(),
    )
    reporter.stage("train")
    notes = [
        EventRecord(step=0, kind="pictures_skipped", detail={"split": split, "count": count})
        for split, count in material.skipped.items()
    ]
    result = trainer.fit(resume=resume, holds_lock=True, restart_data=has_changed, notes=notes, interrupt=interrupt)
    return PictureTokenizerOutcome(
        run_directory=run_directory,
        recipe=recipe,
        material=material,
        result=result,
        num_parameters=count_parameters(model.autoencoder),
    )


def new_learner(recipe: PictureTokenizerRecipe, material: PictureMaterial) -> TokenizerLearner:
    """Return the networks of a run with fresh weights, drawn from its seed.

    Raises: ConfigError if the pictures' size does not fit the tokenizer's, or is too small for the perceptual part.
    """
    if recipe.loss.perceptual and material.image_size < MIN_IMAGE_SIZE:
        raise ConfigError(
            f"loss.perceptual={recipe.loss.perceptual} needs pictures of at least {MIN_IMAGE_SIZE} pixels a side, got "
            f"{material.image_size}.",
            hint="set loss.perceptual=0",
        )
    sizes = recipe.tokenizer.sizes(image_size=material.image_size, channels=material.channels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        return TokenizerLearner(
            sizes,
            num_labels=len(material.train.label_names),
            has_features=recipe.loss.perceptual > 0,
            has_discriminator=recipe.loss.adversarial > 0,
        )


def _loader(recipe: PictureTokenizerRecipe, material: PictureMaterial, loss: PictureLoss) -> BatchLoader:
    return PictureLoader(
        material.train.pixels,
        material.train.labels,
        rows_per_batch=recipe.train.batch_seqs,
        first_batches=loss.first_steps(recipe.train.steps),
        augmentation=recipe.pictures.augment,
        seed=recipe.seed,
    )


def _evaluator(
    recipe: PictureTokenizerRecipe, material: PictureMaterial, run_directory: Path, *, interrupt: InterruptWatch
) -> TokenizerEvaluator:
    pixels = material.validation.pixels
    chosen = spread(range(len(pixels)), recipe.evaluation.max_pictures)
    return TokenizerEvaluator(
        pixels[list(chosen)],
        run_directory,
        num_shown=recipe.evaluation.num_shown,
        is_unwanted=lambda: interrupt.is_requested,
    )


def _settle_steps(
    recipe: PictureTokenizerRecipe,
    model: TokenizerLearner,
    material: PictureMaterial,
    loss: PictureLoss,
    *,
    reporter: Reporter,
) -> PictureTokenizerRecipe:
    """Turn a budget of minutes into a number of steps, by timing a few of them on a throw-away copy."""
    if recipe.minutes is None:
        return recipe
    reporter.stage("time a few steps")
    seconds = measure_step_seconds(
        model,
        loader=_loader(recipe, material, loss),
        task_heads=[None] * len(loss.names),
        loss_function=loss,
        balance=loss.balance,
        config=recipe.train,
        optimizer=recipe.optimizer,
        max_seconds=seconds_to_time(recipe.minutes),
    )
    return with_steps(recipe, steps_within(recipe.minutes, step_seconds=seconds, reporter=reporter))
