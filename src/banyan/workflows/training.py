"""`banyan train`: a recipe → a run directory with checkpoints, each of which answers and can be served."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

from banyan.core.config import config_to_mapping
from banyan.core.devices import choose_device
from banyan.core.locks import hold_directory
from banyan.core.paths import runs_directory
from banyan.core.process import end_with_launcher, process_place
from banyan.model.transformer import Transformer, count_parameters
from banyan.train.accounting import count_weights, flops_per_token
from banyan.train.callbacks import Callback, EventRecord, FitResult
from banyan.train.checkpoints import CheckpointFolder
from banyan.train.distributed.world import joined_ranks, own_device
from banyan.train.evaluations import evaluated_by_main
from banyan.train.interrupt import InterruptWatch
from banyan.train.peak import peak_flops
from banyan.train.ramps import planned_rows
from banyan.train.ranks import Ranks, main_first
from banyan.train.state import TransformerFiles
from banyan.train.trackers import build_trackers, require_trackers
from banyan.train.trainer import Trainer
from banyan.workflows.adapting import adapter_files, origin_of_adapter
from banyan.workflows.forgetting import measure_parent, report_forgetting
from banyan.workflows.inheriting import layer_rates_of
from banyan.workflows.learning import Learning, balance_of, heard_by, new_loader, prepare_learning
from banyan.workflows.live_model import LiveEvaluator
from banyan.workflows.material import Material, gather_material
from banyan.workflows.number_formats import settle_formats
from banyan.workflows.parent import tell_of_parent
from banyan.workflows.recipe import Recipe
from banyan.workflows.reporter import Reporter
from banyan.workflows.resuming import learned_data, recipe_changes, settle_recipe
from banyan.workflows.run_beginning import SaveRecipe
from banyan.workflows.samples import SampleBook
from banyan.workflows.settling import new_model, settle_length, settle_sizes
from banyan.workflows.sidecars import sidecars_of
from banyan.workflows.task_bests import TaskBests
from banyan.workflows.training_progress import ReportProgress
from banyan.workflows.validation_budget import settle_validation


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingOutcome:
    """What a training run left behind."""

    run_directory: Path
    recipe: Recipe  # resolved: its steps are settled
    material: Material
    result: FitResult
    num_parameters: int


def train(
    recipe: Recipe,
    *,
    reporter: Reporter,
    resume: bool = False,
    callbacks: Sequence[Callback] = (),
    run_directory: Path | None = None,
    material: Material | None = None,
    accept_data_change: bool = False,
) -> TrainingOutcome:
    """Train what the recipe describes and return where it lies; an interrupted run returns too, and says so.

    `material` is what was gathered for this recipe already; None: it is gathered now. A run does not go on with other
    data than it began with, unless `accept_data_change`: then with its own tokenizers, from the front of the new data.
    Raises: every error of data, configuration, disk and training, each with its own exit code.
    """
    require_trackers(recipe.tracking.services)
    place = process_place()
    device = own_device(choose_device(recipe.device), place)
    end_with_launcher(place)
    with joined_ranks(place, config=recipe.parallel, device=device) as ranks:
        return _train(
            recipe,
            run_directory=run_directory or runs_directory() / recipe.name,
            reporter=reporter,
            resume=resume or place.restart_count > 0,  # started anew because a rank was lost
            callbacks=callbacks,
            material=material,
            accept_data_change=accept_data_change,
            device=device,
            ranks=ranks,
        )


def _train(
    recipe: Recipe,
    *,
    run_directory: Path,
    reporter: Reporter,
    resume: bool,
    callbacks: Sequence[Callback],
    material: Material | None,
    accept_data_change: bool,
    device: torch.device,
    ranks: Ranks,
) -> TrainingOutcome:
    # From before the tokenizer of another run could be replaced to after the last save.
    with hold_directory(run_directory) if ranks.is_main else nullcontext():
        if ranks.is_main and not resume:
            CheckpointFolder(run_directory).require_fresh()
        asked, recipe = recipe, settle_recipe(recipe, run_directory, resume=resume)
        tell_of_parent(asked, recipe, reporter=reporter)
        learned = learned_data(run_directory) if resume else None
        if material is None:
            with main_first(ranks):  # the others find its tokenizers and shards in the run's folder
                material = gather_material(
                    recipe,
                    run_directory,
                    reporter=reporter,
                    expected_fingerprint=None if accept_data_change else learned,
                    keep_tokenizers=accept_data_change and learned is not None,
                )
        if recipe.finish is not None:
            names = recipe.finish.names_among(recipe.tasks)
            recipe.finish.check_judged({name: material.validation[name] for name in names})
        if ranks.is_main:
            measure_parent(recipe, run_directory, reporter=reporter)
        ranks.barrier()
        outcome = _fit(
            recipe,
            material,
            run_directory=run_directory,
            reporter=reporter,
            resume=resume,
            callbacks=callbacks,
            device=device,
            ranks=ranks,
            learned=learned,
        )
        if ranks.is_main and outcome.result.stopped_by != "interrupt":
            report_forgetting(recipe, run_directory, outcome.result.best_checkpoint, reporter=reporter)
        return outcome


def _fit(
    recipe: Recipe,
    material: Material,
    *,
    run_directory: Path,
    reporter: Reporter,
    resume: bool,
    callbacks: Sequence[Callback],
    device: torch.device,
    ranks: Ranks,
    learned: str | None,
) -> TrainingOutcome:
    """Train on what was gathered; `learned` is the fingerprint of the data before, if any."""
    notes = _notes(recipe, material, run_directory, resume=resume, learned=learned)
    recipe, model, learning = _settled(
        recipe, material, run_directory=run_directory, reporter=reporter, device=device, ranks=ranks
    )
    progress = _progress(recipe, model, material, reporter=reporter)
    interrupt = InterruptWatch()
    evaluator = _evaluator(recipe, material, SampleBook(run_directory, tell=progress.show_sample), interrupt=interrupt)
    num_parameters = count_parameters(model)
    ranks.divide(model)
    trainer = Trainer(
        model,
        loader=learning.loader,
        task_names=[task.name for task in material.tasks],
        task_heads=[task.head for task in material.tasks],
        loss_function=learning.loss_function,
        config=recipe.train,
        optimizer=recipe.optimizer,
        schedule=recipe.schedule,
        run_directory=run_directory,
        sidecars=sidecars_of(recipe, material, adapter=origin_of_adapter(recipe, material, run_directory)),
        callbacks=(SaveRecipe(recipe), progress, *_keepers(recipe, material, run_directory), *callbacks),
        evaluator=heard_by(learning.mixture, evaluated_by_main(evaluator, ranks)) if evaluator.has_examples else None,
        seed=recipe.seed,
        balance=balance_of(recipe, material),
        weight_files=adapter_files(recipe) or _weight_files(material),
        layer_rates=layer_rates_of(recipe, model),
        ranks=ranks,
    )
    reporter.stage("train")
    has_changed = learned not in (None, material.fingerprint)
    result = trainer.fit(resume=resume, holds_lock=True, restart_data=has_changed, notes=notes, interrupt=interrupt)
    return TrainingOutcome(
        run_directory=run_directory,
        recipe=recipe,
        material=material,
        result=result,
        num_parameters=num_parameters,
    )


def _settled(
    recipe: Recipe, material: Material, *, run_directory: Path, reporter: Reporter, device: torch.device, ranks: Ranks
) -> tuple[Recipe, Transformer, Learning]:
    """Return the recipe with its sizes, its steps and its validations counted, its model, and how that learns."""
    recipe = settle_sizes(recipe, material, reporter=reporter, device=device, ranks=ranks)
    model = new_model(recipe, material).to(device)
    recipe = settle_formats(recipe, model, reporter=reporter, ranks=ranks)
    learning = prepare_learning(recipe, model, material, run_directory=run_directory, reporter=reporter, ranks=ranks)
    recipe = settle_length(recipe, model, learning, reporter=reporter, ranks=ranks)
    recipe = settle_validation(recipe, model, material, reporter=reporter, ranks=ranks)
    learning.mixture.plan_rows(planned_rows(recipe.train))
    return recipe, model, learning


def _evaluator(recipe: Recipe, material: Material, book: SampleBook, *, interrupt: InterruptWatch) -> LiveEvaluator:
    return LiveEvaluator(
        material,
        max_examples=recipe.evaluation.max_validation_examples,
        limits=recipe.evaluation.validation_examples,
        hear_samples=book,
        is_unwanted=lambda: interrupt.is_requested,
    )


def _notes(
    recipe: Recipe, material: Material, run_directory: Path, *, resume: bool, learned: str | None
) -> list[EventRecord]:
    """Return what a run tells when it begins, beside that it does."""
    return [
        *_notes_of_restart(),
        *_notes_of_recipe(recipe, run_directory, resume=resume),
        *_notes_of_data(material, learned),
    ]


def _notes_of_restart() -> list[EventRecord]:
    count = process_place().restart_count
    return [EventRecord(step=0, kind="ranks_restarted", detail={"restart_count": count})] if count else []


def _notes_of_recipe(recipe: Recipe, run_directory: Path, *, resume: bool) -> list[EventRecord]:
    changed = recipe_changes(recipe, run_directory) if resume else {}
    return [EventRecord(step=0, kind="recipe_changed", detail={"changed": changed})] if changed else []


def _notes_of_data(material: Material, learned: str | None) -> list[EventRecord]:
    notes = []
    if learned not in (None, material.fingerprint):
        notes.append(EventRecord(step=0, kind="data_changed", detail={"before": learned, "now": material.fingerprint}))
    for name, skipped in material.skipped.items():
        if skipped:
            notes.append(EventRecord(step=0, kind="examples_skipped", detail={"task": name, "count": skipped}))
    return notes


def _progress(recipe: Recipe, model: Transformer, material: Material, *, reporter: Reporter) -> ReportProgress:
    """Return what tells a reporter of the run; a reporter that is watched also hears how well the machine is used."""

    def token_flops() -> float:
        batch = new_loader(recipe, material).next_batch()
        return flops_per_token(
            model.config,
            count_weights(model),
            seq_len=recipe.train.seq_len,
            target_share=batch.num_targets / batch.num_tokens,
        )

    return ReportProgress(reporter, flops_per_token=token_flops, peak_flops=lambda: peak_flops(model.device))


def _keepers(recipe: Recipe, material: Material, run_directory: Path) -> tuple[Callback, ...]:
    """Return what keeps more of the run than its own files: services, and the best model of each task."""
    trackers = build_trackers(
        recipe.tracking, name=recipe.name, settings=config_to_mapping(recipe), log_every=recipe.train.log_every
    )
    return (*trackers, TaskBests(run_directory, material.tasks)) if recipe.evaluation.keep_task_bests else trackers


def _weight_files(material: Material) -> TransformerFiles:
    vocabulary = material.vocabulary
    return TransformerFiles(bos_id=vocabulary.bos_id, eos_ids=vocabulary.eos_ids, pad_id=vocabulary.pad_id)
