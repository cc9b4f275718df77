"""What a recipe leaves open, settled before its run begins: sizes by the dial, minutes as steps, the first weights."""

from __future__ import annotations

import torch

from banyan.model.transformer import Transformer
from banyan.train.measure import measure_step_seconds
from banyan.train.ranks import ALONE, Ranks
from banyan.workflows.dial import dial_facts, has_dial, settle_dial
from banyan.workflows.inheriting import new_child
from banyan.workflows.learning import Learning, whole_batches
from banyan.workflows.material import Material
from banyan.workflows.number_formats import settle_formats
from banyan.workflows.recipe import Recipe, with_steps
from banyan.workflows.reporter import Reporter, SilentReporter
from banyan.workflows.resuming import settle_evaluations
from banyan.workflows.run_beginning import seconds_to_time, steps_within


def new_model(recipe: Recipe, material: Material) -> Transformer:
    """Return the recipe's model: its parent's child, or one with fresh weights, drawn from its seed."""
    if material.parent is not None:
        return new_child(recipe, material, material.parent)
    config = recipe.resolve_model(**_id_space(material))
    heads = [task.head for task in material.tasks if task.head is not None]
    model = Transformer(config, heads)
    model.init_weights(torch.Generator().manual_seed(recipe.seed))
    return model


def _id_space(material: Material) -> dict[str, int]:
    """Return the sizes of a model that follow from the data."""
    tokenizer = material.image_tokenizer
    return {
        "vocab_size": material.vocabulary.size,
        "num_image_codes": tokenizer.num_codes if tokenizer else 0,
        "grid_size": tokenizer.grid_size if tokenizer else 0,
    }


def settle_sizes(
    recipe: Recipe, material: Material, *, reporter: Reporter, device: torch.device, ranks: Ranks = ALONE
) -> Recipe:
    """Return the recipe with all that it leaves to `model.size` or `train.budget` chosen, and say what."""
    if not has_dial(recipe):
        return recipe
    reporter.stage("choose sizes")

    def probe(trial: Recipe) -> float:
        model = new_model(trial, material).to(device)
        trial = settle_formats(trial, model, reporter=SilentReporter(), ranks=ranks)
        return _step_seconds(trial, model, whole_batches(trial, material), ranks=ranks)

    settled, summary = settle_dial(recipe, dial_facts(material.sources, _id_space(material)), probe=probe)
    reporter.line(summary)
    return settled


def settle_length(
    recipe: Recipe, model: Transformer, learning: Learning, *, reporter: Reporter, ranks: Ranks = ALONE
) -> Recipe:
    """Return the recipe with its steps counted and its evaluations spread over them."""
    return settle_evaluations(_settle_steps(recipe, model, learning, reporter=reporter, ranks=ranks))


def _settle_steps(
    recipe: Recipe, model: Transformer, learning: Learning, *, reporter: Reporter, ranks: Ranks
) -> Recipe:
    """Turn a budget of minutes into a number of steps, by timing a few of them on a throw-away copy."""
    if recipe.minutes is None:
        return recipe
    reporter.stage("time a few steps")
    seconds = _step_seconds(recipe, model, learning, max_seconds=seconds_to_time(recipe.minutes), ranks=ranks)
    return with_steps(recipe, steps_within(recipe.minutes, step_seconds=seconds, reporter=reporter))


def _step_seconds(
    recipe: Recipe, model: Transformer, learning: Learning, *, max_seconds: float = 0.0, ranks: Ranks
) -> float:
    return measure_step_seconds(
        model,
        loader=learning.loader,
        task_heads=learning.task_heads,
        loss_function=learning.loss_function,
        config=recipe.train,
        optimizer=recipe.optimizer,
        max_seconds=max_seconds,
        ranks=ranks,
    )
