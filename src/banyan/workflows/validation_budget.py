"""How many validation examples of each task fit into the seconds that one validation may take."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping

from banyan.model.transformer import Transformer
from banyan.train.ranks import ALONE, Ranks
from banyan.workflows.datasets import spread
from banyan.workflows.live_model import live_model, validation_judges
from banyan.workflows.material import Material
from banyan.workflows.recipe import Recipe
from banyan.workflows.reporter import Reporter
from banyan.workflows.scoring import evaluate_one

_TRIED = 8  # examples of each task that are timed
FEWEST = 8  # examples that a task is scored on at least


def settle_validation(
    recipe: Recipe,
    model: Transformer,
    material: Material,
    *,
    reporter: Reporter,
    ranks: Ranks = ALONE,
    clock: Callable[[], float] = time.perf_counter,
) -> Recipe:
    """Return the recipe with the validation examples of each task counted, where it limits their seconds.

    The model is timed as it is: one that knows nothing yet writes longer than it will later.
    """
    evaluation = recipe.evaluation
    if evaluation.max_seconds is None or evaluation.validation_examples:
        return recipe
    reporter.stage("time a validation")
    costs = ranks.from_main(lambda: seconds_per_example(model, material, clock=clock))
    sizes = {name: min(len(material.validation[name]), evaluation.max_validation_examples) for name in costs}
    counts = examples_within(costs, sizes, seconds=evaluation.max_seconds)
    expected = math.fsum(counts[name] * costs[name] for name in counts)
    reporter.line(f"a validation takes about {expected:.0f} s: {sum(counts.values())} examples of {len(counts)} tasks")
    return dataclasses.replace(recipe, evaluation=dataclasses.replace(evaluation, validation_examples=counts))


def seconds_per_example(model: Transformer, material: Material, *, clock: Callable[[], float]) -> dict[str, float]:
    """Return what an example of each task costs, from a few of them."""
    judges = validation_judges(material)
    costs = {}
    with live_model(model, material) as answering:
        for task in material.tasks:
            if examples := spread(material.validation.get(task.name, ()), _TRIED):
                began = clock()
                evaluate_one(answering, task, examples, judge=judges.get(task.name), num_samples=1)
                costs[task.name] = (clock() - began) / len(examples)
    return costs


def examples_within(costs: Mapping[str, float], sizes: Mapping[str, int], *, seconds: float) -> dict[str, int]:
    """Share seconds out so that every task has as long as any other, or as long as all its examples take."""
    left = seconds
    counts: dict[str, int] = {}
    for number, name in enumerate(sorted(costs, key=lambda name: costs[name] * sizes[name])):
        share = left / (len(costs) - number)
        fitting = sizes[name] if costs[name] * sizes[name] <= share else math.floor(share / costs[name])
        counts[name] = min(sizes[name], max(FEWEST, fitting))
        left = max(0.0, left - counts[name] * costs[name])
    return {name: counts[name] for name in costs}
