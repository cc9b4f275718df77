"""What one key chooses, by which rules, and what it leaves alone."""

import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from banyan.core.config import config_from_mapping, read_config, write_config
from banyan.core.errors import ConfigError
from banyan.train.optimizer import OptimizerConfig
from banyan.workflows.dial import DialFacts, as_dialled, dial_facts, settle_dial
from banyan.workflows.recipe import Recipe, read_recipe

TASK = {"name": "text", "kind": "language_modeling", "data": {"train": "rows.jsonl"}}
SIZES = {"vocab_size": 4100, "num_image_codes": 0, "grid_size": 0}


def recipe(**changes: Any) -> Recipe:
    return config_from_mapping(Recipe, {"name": "run", "tasks": [TASK], **changes})


def never(trial: Recipe) -> float:
    raise AssertionError("nothing is to be timed")


def settled(given: Recipe, *, num_tokens: float = 1e12, probe: Any = never) -> Recipe:
    return settle_dial(given, DialFacts(sizes=SIZES, num_tokens=num_tokens), probe=probe)[0]


def batch_tokens(found: Recipe) -> int:
    return found.train.batch_seqs * found.train.seq_len


def num_tokens(found: Recipe) -> int:
    return batch_tokens(found) * found.train.steps


def matrix_weights(found: Recipe) -> float:
    model = found.resolve_model(**SIZES)
    attention = model.embed_dim * model.head_dim * 2 * (model.num_heads + model.num_kv_heads)
    return model.num_layers * (attention + 3 * model.embed_dim * model.ffn_dim)


@pytest.mark.parametrize(
    ("size", "weights"), [("1M", 1e6), ("3M", 3e6), ("10M", 1e7), (85_000_000, 8.5e7), ("1B", 1e9)]
)
def test_a_size_becomes_a_shape_near_it(size: Any, weights: float) -> None:
    found = settled(recipe(model={"size": size}))
    assert matrix_weights(found) == pytest.approx(weights, rel=0.3)
    assert (found.model.embed_dim or 0) % (found.model.head_dim or 1) == 0
    assert found.model.num_layers == max(4, round((found.model.embed_dim or 0) / 64))


def test_the_size_of_gpt2_small_is_its_shape() -> None:
    found = settled(recipe(model={"size": "85M"})).model
    assert (found.num_layers, found.embed_dim, found.num_heads, found.ffn_dim) == (12, 768, 12, 2048)


def test_a_size_deserves_ten_tokens_for_each_weight_of_its_products() -> None:
    found = settled(recipe(model={"size": "3M"}))
    weights = matrix_weights(found) + 4100 * (found.model.embed_dim or 0)
    assert num_tokens(found) == pytest.approx(10 * weights, rel=0.02)


def test_a_preset_can_be_the_size() -> None:
    found = settled(recipe(model={"size": "banyan-micro"}))
    assert (found.model.preset, found.model.embed_dim) == ("banyan-micro", None)


def test_a_budget_of_arithmetic_is_spent() -> None:
    for flops in (1e13, 1e15, 1e17):
        found = settled(recipe(train={"budget": f"{flops:g}flops"}))
        weights = matrix_weights(found) + 4100 * (found.model.embed_dim or 0)
        attention = 12 * found.train.seq_len * (found.model.num_layers or 0) * (found.model.embed_dim or 0)
        assert num_tokens(found) * (6 * weights + attention) == pytest.approx(flops, rel=0.03)
        assert 5 < num_tokens(found) / weights < 20


def test_a_larger_budget_buys_a_larger_model_a_longer_run_and_a_larger_batch() -> None:
    found = [settled(recipe(train={"budget": f"1e{power}flops"})) for power in range(12, 19)]
    for measure in (matrix_weights, num_tokens, batch_tokens):
        values = [measure(one) for one in found]
        assert values == sorted(values) and values[0] < values[-1]


def test_rates_follow_the_root_of_the_batch_and_adamws_that_of_the_width() -> None:
    plain = OptimizerConfig()
    for size in ("1M", "30M"):
        found = settled(recipe(model={"size": size}))
        by_batch, width = math.sqrt(batch_tokens(found) / 4096), found.model.embed_dim or 0
        assert found.optimizer.matrix_learning_rate == pytest.approx(plain.matrix_learning_rate * by_batch, rel=0.01)
        expected = plain.learning_rate * by_batch * math.sqrt(128 / width)
        assert found.optimizer.learning_rate == pytest.approx(expected, rel=0.01)


def test_data_is_seen_sixteen_times_at_most_and_decays_more_from_the_fourth_on() -> None:
    budget = recipe(train={"budget": "1e14flops"})
    epochs = [num_tokens(settled(budget, num_tokens=tokens)) / tokens for tokens in (1e12, 2e6, 1e5)]
    assert epochs[0] < 1 and 4 < epochs[1] < 16 and epochs[2] == pytest.approx(16, rel=0.1)
    decays = [settled(budget, num_tokens=tokens).optimizer.weight_decay for tokens in (1e12, 2e6, 1e5)]
    assert decays[0] == 0.1 < decays[1] < decays[2] <= 0.41


class Machine:
    """A machine that computes at a rate, whatever the model."""

    def __init__(self, flops_per_second: float) -> None:
        self._rate = flops_per_second
        self.timed: list[Recipe] = []

    def __call__(self, trial: Recipe) -> float:
        self.timed.append(trial)
        weights = matrix_weights(trial) + 4100 * (trial.model.embed_dim or 0)
        attention = 12 * trial.train.seq_len * (trial.model.num_layers or 0) * (trial.model.embed_dim or 0)
        return batch_tokens(trial) * (6 * weights + attention) / self._rate


@pytest.mark.parametrize("rate", [2e9, 1e11, 3e14])
def test_a_budget_of_time_is_one_of_arithmetic_at_the_rate_that_was_measured(rate: float) -> None:
    machine = Machine(rate)
    found = settled(recipe(train={"budget": "10min"}), probe=machine)
    assert found == settled(recipe(train={"budget": f"{600 * rate:g}flops"}))
    assert len(machine.timed) <= 3
    assert machine(found) * found.train.steps == pytest.approx(600, rel=0.05)


def test_what_a_recipe_gives_itself_is_kept() -> None:
    given = recipe(
        model={"size": "3M", "num_layers": 9},
        train={"steps": 77, "micro_batch_seqs": 3},
        optimizer={"matrix_learning_rate": 0.5},
    )
    found = settled(given)
    assert (found.model.num_layers, found.train.steps, found.train.micro_batch_seqs) == (9, 77, 3)
    assert found.optimizer.matrix_learning_rate == 0.5
    assert found.model.embed_dim is not None


def test_a_preset_that_was_given_keeps_its_shape_under_a_budget() -> None:
    found = settled(recipe(model={"preset": "banyan-micro"}, train={"budget": "1e13flops"}))
    assert (found.model.preset, found.model.embed_dim) == ("banyan-micro", None)


def test_a_key_given_at_its_default_is_kept_too(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    given = {"name": "run", "tasks": [TASK], "train": {"steps": 1000}, "optimizer": {"learning_rate": 0.003}}
    path.write_text(yaml.safe_dump(given))
    found = settled(read_recipe(path, overrides=["train.budget=1e13flops", "model.preset=banyan-nano"]))
    assert (found.train.steps, found.optimizer.learning_rate, found.model.embed_dim) == (1000, 0.003, None)
    assert found.optimizer.matrix_learning_rate != OptimizerConfig().matrix_learning_rate


def test_a_settled_recipe_reruns_as_it_is(tmp_path: Path) -> None:
    found = settled(recipe(train={"budget": "1e13flops"}))
    write_config(tmp_path / "recipe.yaml", found)
    again = read_recipe(tmp_path / "recipe.yaml")
    assert again == found == read_config(Recipe, tmp_path / "recipe.yaml")
    assert (again.model.size, again.train.budget, again.dial_keeps) == (None, None, ())


@pytest.mark.parametrize(
    "given", [{"model": {"size": "3M"}}, {"train": {"budget": "1e13flops"}}, {"model": {"size": "banyan-micro"}}]
)
def test_a_resumed_run_takes_what_was_chosen_when_it_began(given: dict[str, Any]) -> None:
    asked = recipe(**given)
    assert as_dialled(asked, settled(asked)) == settled(asked)


def test_two_budgets_are_refused_and_so_is_what_cannot_be_read() -> None:
    with pytest.raises(ConfigError, match="both say how long"):
        recipe(minutes=3, train={"budget": "3min"})
    with pytest.raises(ConfigError, match="is no budget"):
        recipe(train={"budget": "soon"})
    with pytest.raises(ConfigError, match="is no size"):
        recipe(model={"size": "large"})


class Lengths:
    """Sequences of so many tokens."""

    task, is_running_text = "text", False

    def __init__(self, *lengths: int) -> None:
        self._lengths = lengths

    def __len__(self) -> int:
        return len(self._lengths)

    def __getitem__(self, index: int) -> Any:
        return [0] * self._lengths[index]

    def varied(self, sequence: Any, generator: Any, *, index: int) -> Any:
        return sequence


def test_tokens_are_counted_over_all_sources() -> None:
    assert dial_facts([Lengths(1, 2, 3), Lengths(*[7] * 1000)], SIZES).num_tokens == 6 + 7000
