"""docs/guides/augmentation.md: its recipes are recipes, and its command prints what it shows."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from banyan.cli.data import app
from banyan.core.config import config_from_mapping
from banyan.core.errors import ConfigError, UnknownNameError
from banyan.workflows.recipe import Recipe

TEXT = (Path(__file__).parents[2] / "docs" / "guides" / "augmentation.md").read_text("utf-8")
FILES = dict(re.findall(r"^`([\w.]+)`\n\n```\w+\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL))
BLOCKS = [block for block in re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL) if block not in FILES.values()]
SHOWN = re.findall(r"```sh\nbanyan data (.*?)\n```\n\n```text\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, content in FILES.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    monkeypatch.chdir(tmp_path)


def run(command: str) -> str:
    result = CliRunner().invoke(app, command.split(), standalone_mode=False)
    if result.exception:
        raise result.exception
    return result.stdout


def test_the_command_prints_what_the_guide_shows() -> None:
    assert len(FILES) == 4
    for command, shown in SHOWN:
        assert run(command).strip() == shown.strip()
    assert len(SHOWN) == 1


@pytest.mark.parametrize("block", BLOCKS)
def test_every_section_of_the_guide_is_part_of_a_recipe(block: str) -> None:
    section = yaml.safe_load(block)
    tasks = section.pop("tasks", [{"name": "reviews", "kind": "classification"}])
    config_from_mapping(Recipe, {"name": "x", "tasks": tasks, **section})


def test_one_task_can_be_shown_as_json_and_the_seed_decides() -> None:
    def shown(seed: int) -> Any:
        return json.loads(run(f"augment words.yaml seed={seed} --task people --num 2 --json"))["wordings"]

    assert [wording["task"] for wording in shown(1)] == ["people", "people"]
    assert shown(1) == shown(1) != shown(2)


def test_a_task_that_is_not_there_or_not_augmented_is_named() -> None:
    with pytest.raises(UnknownNameError, match="people"):
        run("augment words.yaml --task peopel")
    with pytest.raises(ConfigError, match="task people augments nothing"):
        run("augment words.yaml tasks.people.augment=null --task people")
