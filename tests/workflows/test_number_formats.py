"""What is settled about a run's products stands in its recipe; what a recipe names stays."""

from typing import Any

import pytest

from banyan.core.config import config_from_mapping
from banyan.model.transformer import Transformer
from banyan.testing.models import tiny_model_config
from banyan.train.auto_precision import PrecisionChoice
from banyan.train.config import TrainConfig
from banyan.workflows.number_formats import settle_formats
from banyan.workflows.recipe import Recipe
from banyan.workflows.reporter import SilentReporter


class Heard(SilentReporter):
    """Keeps the lines it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


def recipe_of(**train: Any) -> Recipe:
    tasks = [{"name": "text", "kind": "language_modeling", "data": {"train": "/rows.jsonl"}}]
    return config_from_mapping(Recipe, {"name": "it", "tasks": tasks, "train": train})


def test_a_narrow_model_learns_in_float32_and_nothing_is_said_of_it() -> None:
    reporter = Heard()
    settled = settle_formats(recipe_of(), Transformer(tiny_model_config()), reporter=reporter)
    assert settled.train.precision == "float32" and settled.train.products in ("torch", "onednn")
    assert not reporter.lines


def test_what_a_probe_chooses_for_a_wide_model_stands_in_the_recipe_and_is_said() -> None:
    asked: dict[str, Any] = {}

    def choose(model: Transformer, config: TrainConfig, **facts: Any) -> PrecisionChoice:
        asked.update(facts, products=config.products)
        return PrecisionChoice(precision="int8", reason="2.4 times as fast as float32 here")

    reporter, model = Heard(), Transformer(tiny_model_config(embed_dim=256, num_layers=1))
    settled = settle_formats(recipe_of(products="torch"), model, reporter=reporter, choose=choose)
    assert settled.train.precision == "int8"
    assert reporter.lines == ["products in int8: 2.4 times as fast as float32 here"]
    assert asked == {"is_fresh": True, "minutes": None, "world_size": 1, "products": "torch"}


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
def test_what_a_recipe_names_is_not_chosen_anew(precision: str) -> None:
    def choose(*_: Any, **__: Any) -> PrecisionChoice:
        raise AssertionError("nobody asked")

    recipe = recipe_of(precision=precision, products="torch")
    model = Transformer(tiny_model_config())
    assert settle_formats(recipe, model, reporter=SilentReporter(), choose=choose) == recipe


def test_off_the_cpu_nothing_is_settled() -> None:
    model = Transformer(tiny_model_config()).to("meta")
    assert settle_formats(recipe_of(), model, reporter=SilentReporter()) == recipe_of()
