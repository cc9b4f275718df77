"""docs/guides/own-data.md keeps its word: each example file in it makes a recipe that loads and reads its rows."""

import re
from pathlib import Path

import numpy as np
import pytest

from banyan.core.config import read_config
from banyan.tasks.config import build_task
from banyan.tokenizers.pictures import image_from_array, image_to_png
from banyan.workflows.datasets import SPLITS, load_splits
from banyan.workflows.init import InitReport, write_recipe
from banyan.workflows.recipe import Recipe
from banyan.workflows.reporter import SilentReporter
from banyan.workflows.training import train

GUIDE = Path(__file__).parents[2] / "docs/guides/own-data.md"
_EXAMPLE = re.compile(r"^`([\w./]+)`\n\n```\w+\n(.*?)^```", re.MULTILINE | re.DOTALL)

_KINDS = {
    ("notes",): "language_modeling",
    ("reviews.csv",): "classification",
    ("people.conll",): "tagging",
    ("phrases.en", "phrases.de"): "translation",
    ("pairs.jsonl",): "translation",
    ("questions.jsonl",): "question_answering",
    ("chats.jsonl",): "dialogue",
    ("lessons.json",): "dialogue",
    ("sharegpt.json",): "dialogue",
    ("letters.jsonl",): "summarization",
    ("shapes",): "image_generation",
    ("news",): "classification",
}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write every example of the guide, and the pictures it speaks of, into a folder and go there."""
    for name, content in _EXAMPLE.findall(GUIDE.read_text(encoding="utf-8")):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    generator = np.random.default_rng(0)
    for number in range(1, 5):
        pixels = generator.integers(0, 256, size=(16, 16), dtype=np.uint8)
        (tmp_path / f"shapes/{number}.png").write_bytes(image_to_png(image_from_array(pixels)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _read(report: InitReport) -> Recipe:
    return read_config(Recipe, report.recipe)


def test_the_guide_shows_as_many_files_as_are_tested(files: Path) -> None:
    shown = {name.partition("/")[0] for name, _ in _EXAMPLE.findall(GUIDE.read_text(encoding="utf-8"))}
    assert shown == {name for names in _KINDS for name in names}


@pytest.mark.parametrize("names", _KINDS, ids="+".join)
def test_each_example_makes_a_recipe_that_reads_its_rows(files: Path, names: tuple[str, ...]) -> None:
    report = write_recipe([Path(name) for name in names], output=Path("recipe.yaml"))
    recipe = _read(report)
    [config] = recipe.tasks
    assert config.kind == _KINDS[names]
    splits = load_splits(config, seed=recipe.seed)
    extra = {"grid_size": 8, "num_codes": 16} if config.kind == "image_generation" else {}
    task = build_task(config, rows=splits.train, **extra)
    for split in SPLITS:
        assert splits.named(split)
        for row in splits.named(split):
            task.parse(row)


def test_all_examples_make_one_recipe(files: Path) -> None:
    names = [Path(name) for group in _KINDS for name in group]
    report = write_recipe(names, output=Path("all.yaml"))
    recipe = _read(report)
    assert recipe.name == "all"
    assert {task.kind for task in recipe.tasks} == set(_KINDS.values())
    assert len(recipe.tasks) == len(_KINDS)
    assert report.next_command == "banyan train all.yaml"
    assert all(len(task.report.examples) >= 3 for task in report.tasks)


@pytest.mark.slow
def test_the_recipe_of_all_examples_trains_as_it_is(files: Path) -> None:
    names = [Path(name) for group in _KINDS for name in group if name != "shapes"]
    report = write_recipe(names, output=Path("recipe.yaml"))
    small = ["minutes=null", "train.steps=2", "train.micro_batch_seqs=2", "model.num_layers=1"]
    recipe = read_config(Recipe, report.recipe, overrides=[*small, "evaluation.max_validation_examples=2"])
    outcome = train(recipe, reporter=SilentReporter())
    assert outcome.result.steps == 2
    assert not any(outcome.material.skipped.values())
