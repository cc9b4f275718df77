"""docs/guides/augmentation.md: its recipes are recipes, and its command prints what it shows."""

import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from banyan.cli.data import app
from banyan.core.config import config_from_mapping
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
