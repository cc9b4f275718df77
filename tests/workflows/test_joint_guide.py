"""docs/guides/joint-training.md: its recipes are recipes."""

import re
from pathlib import Path

import pytest
import yaml

from banyan.core.config import config_from_mapping
from banyan.workflows.recipe import Recipe

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "joint-training.md"
BLOCKS = re.findall(r"```yaml\n(.*?)```", GUIDE.read_text("utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS)
def test_every_section_of_the_guide_is_part_of_a_recipe(block: str) -> None:
    task = {"name": "prose", "kind": "language_modeling"}
    config_from_mapping(Recipe, {"name": "x", "tasks": [task], **yaml.safe_load(block)})


def test_the_guide_shows_sections() -> None:
    assert len(BLOCKS) == 5
