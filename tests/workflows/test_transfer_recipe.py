"""A transfer section that contradicts itself is refused with the values it gave."""

from typing import Any

import pytest

from banyan.core.config import config_from_mapping
from banyan.core.errors import ConfigError
from banyan.workflows.recipe import Recipe
from banyan.workflows.transfer_recipe import TransferRecipe

TASK = {"name": "topic", "kind": "classification", "data": {"train": "x.csv"}}


@pytest.mark.parametrize(
    ("section", "complaint"),
    [
        ({"last_blocks": 2}, "transfer.last_blocks=2 asks for a parent"),
        ({"mode": "head"}, "transfer.mode='head' asks for a parent"),
        ({"parent": "p", "last_blocks": 2}, "transfer.last_blocks=2 is for transfer.mode=head"),
        ({"parent": "p", "layer_decay": 1.5}, "transfer.layer_decay=1.5 must be above 0 and at most 1"),
        ({"parent": "p", "mode": "head", "layer_decay": 0.9}, "does not go together with transfer.layer_decay=0.9"),
        ({"parent": "p", "mode": "continue", "keep_tasks": False}, "keep_tasks=false does not go together"),
        ({"parent": "p", "replay": {"share": 1.0, "generated": 5}}, "share=1.0 must be at least 0 and below 1"),
        ({"parent": "p", "replay": {}}, "share=0.1 has nothing to mix in"),
    ],
)
def test_what_does_not_go_together_is_named(section: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        config_from_mapping(TransferRecipe, section)


@pytest.mark.parametrize(
    ("recipe", "complaint"),
    [
        ({"transfer": {"parent": "p", "mode": "continue"}}, "learns from raw text alone; task topic is of kind"),
        ({"transfer": {"parent": "p"}, "model": {"size": "3M"}}, "model.size=3M chooses sizes"),
        ({"transfer": {"parent": "p"}, "train": {"budget": "5min"}}, "train.budget=5min chooses sizes"),
        ({"transfer": {"parent": "p"}, "tokenizer": {"path": "t.json"}}, "tokenizer.path=t.json is not used"),
        ({"transfer": {"parent": "p", "unfreeze_every": 5}, "parallel": {"shard": 2}}, "unfreeze_every=5 does not go"),
    ],
)
def test_a_recipe_that_its_transfer_section_contradicts_is_refused(recipe: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        config_from_mapping(Recipe, {"name": "x", "tasks": [TASK], **recipe})
