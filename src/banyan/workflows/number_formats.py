"""A run's products, by which routine and in which number format: measured when it begins, noted in its recipe."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from banyan.model.products import fastest_products
from banyan.model.transformer import Transformer
from banyan.train.auto_precision import MIN_INT8_WIDTH, PrecisionChoice, choose_on_cpu
from banyan.train.ranks import ALONE, Ranks
from banyan.workflows.recipe import Recipe, with_precision, with_products
from banyan.workflows.reporter import Reporter

ChoosePrecision: TypeAlias = Callable[..., PrecisionChoice]  # called as `choose_on_cpu` is


def settle_formats(
    recipe: Recipe,
    model: Transformer,
    *,
    reporter: Reporter,
    ranks: Ranks = ALONE,
    choose: ChoosePrecision = choose_on_cpu,
) -> Recipe:
    """Return the recipe with `train.products` and `train.precision` settled for its model, and say which was chosen.

    Off the CPU nothing is measured, and both stay as they are.
    """
    if model.device.type != "cpu":
        return recipe
    if recipe.train.products == "auto":  # oneDNN's if it is faster on every rank
        recipe = with_products(recipe, "torch" if ranks.any(fastest_products() == "torch") else "onednn")
    if recipe.train.precision != "auto":
        return recipe
    choice = choose(
        model,
        recipe.train,
        is_fresh=recipe.transfer.parent is None,
        minutes=recipe.minutes,
        world_size=ranks.world_size,
    )
    if model.config.embed_dim >= MIN_INT8_WIDTH:  # a narrow model had no choice
        reporter.line(f"products in {choice.precision}: {choice.reason}")
    return with_precision(recipe, choice.precision)
