"""A child has its parent's sizes; a recipe that asks for others hears both values."""

import dataclasses
from typing import Any

import pytest

from banyan.core.config import config_from_mapping
from banyan.core.errors import ConfigError
from banyan.model.config import ModelConfig
from banyan.testing.models import tiny_model_config
from banyan.workflows.child_sizes import child_config
from banyan.workflows.recipe import Recipe

PARENT = tiny_model_config(max_seq_len=32)
TASK = {"name": "topic", "kind": "classification", "data": {"train": "x.csv"}}


def _child(parent: ModelConfig = PARENT, *, seq_len: int = 32, **model: Any) -> ModelConfig:
    sections = {"transfer": {"parent": "p"}, "model": model, "train": {"seq_len": seq_len}}
    return child_config(config_from_mapping(Recipe, {"name": "x", "tasks": [TASK], **sections}), parent)


def test_a_child_has_its_parents_sizes_and_its_own_dropout() -> None:
    assert _child() == PARENT
    assert _child(num_layers=2, dropout=0.1) == dataclasses.replace(PARENT, dropout=0.1)


@pytest.mark.parametrize(
    ("model", "complaint"),
    [
        ({"num_layers": 3}, r"model.num_layers=3 is not what the parent has \(num_layers=2\)"),
        ({"preset": "banyan-micro"}, "is not what the parent has"),
    ],
)
def test_other_sizes_are_refused(model: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        _child(**model)


def test_a_rotary_context_may_grow() -> None:
    assert _child(max_seq_len=64, seq_len=48).max_seq_len == 64
    with pytest.raises(ConfigError, match="max_seq_len=16 is not possible: .* it may be longer, not shorter"):
        _child(max_seq_len=16, seq_len=16)


def test_a_table_of_positions_is_as_long_as_it_is() -> None:
    table = dataclasses.replace(PARENT, position="learned")
    with pytest.raises(ConfigError, match="max_seq_len=64 is not possible: the parent has max_seq_len=32"):
        _child(table, max_seq_len=64)


def test_a_row_must_fit_the_parents_context() -> None:
    with pytest.raises(ConfigError, match="train.seq_len=48 is more than the parent can address"):
        _child(seq_len=48)
