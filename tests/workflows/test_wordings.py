import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from banyan.cli.data import app
from banyan.core.errors import ConfigError, FileError, UnknownNameError

ROWS = [{"text": f"一棵榕树独木成林，第{n}年。", "label": ["树", "林"][n % 2]} for n in range(8)]


@pytest.fixture(autouse=True)
def _recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("trees.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    Path("words.txt").write_text("榕树\n独木成林\n独木\n一棵\n", encoding="utf-8")
    tasks = (
        "[{name: trees, kind: classification, data: {train: trees.jsonl}, augment: {swap: 1.0}}, {name: text, kind: "
    )
    Path("recipe.yaml").write_text(f"name: x\ntasks: {tasks}language_modeling}}]\n", encoding="utf-8")


def shown(*words: str) -> list[dict[str, Any]]:
    result = CliRunner().invoke(app, ["augment", "recipe.yaml", *words, "--json"], standalone_mode=False)
    if result.exception:
        raise result.exception
    found: list[dict[str, Any]] = json.loads(result.stdout)["wordings"]
    return found


def test_examples_are_shown_beside_other_wordings_of_them_and_the_seed_decides() -> None:
    found = shown("--num", "3", "tasks.trees.augment={share: 0.1, swap: 0.5}")
    assert [wording["task"] for wording in found] == ["trees"] * 3
    assert all(wording["before"] != wording["after"] and wording["answer"] in "树林" for wording in found)
    assert shown("seed=1") == shown("seed=1")
    changes = [shown("tasks.trees.augment.swap=0.5", f"seed={seed}") for seed in (1, 2)]
    assert changes[0] != changes[1]


def test_chinese_changes_by_the_words_of_a_dictionary() -> None:
    by_word = shown("tasks.trees.augment.dictionary=words.txt", "--num", "1")[0]["after"]
    assert by_word == "榕树独木成林一棵，0年第。"
    assert shown("--num", "1")[0]["after"] == "棵榕树独木成林一，0年第。"
    with pytest.raises(FileError, match="nowhere.txt"):
        shown("tasks.trees.augment.dictionary=nowhere.txt")


def test_a_task_that_is_not_there_or_not_augmented_is_named() -> None:
    with pytest.raises(UnknownNameError, match="trees"):
        shown("--task", "tree")
    with pytest.raises(ConfigError, match="task text augments nothing"):
        shown("--task", "text")
    with pytest.raises(ConfigError, match="recipe x augments nothing"):
        shown("tasks.trees.augment=null")
