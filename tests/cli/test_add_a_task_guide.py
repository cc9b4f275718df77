"""docs/guides/add-a-task.md keeps its word: its files and commands run, at a tiny size."""

import re
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from banyan.tasks.registry import TASK_KINDS

Run = Callable[..., Any]

GUIDE = (Path(__file__).parents[2] / "docs/guides/add-a-task.md").read_text("utf-8")
FILES = dict(re.findall(r"^`([\w.]+)`\n\n```\w+\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL))
COMMANDS = [shlex.split(line)[1:] for line in re.findall(r"^banyan .*$", GUIDE, re.MULTILINE)]
TINY = (
    "train.steps=2",
    "train.seq_len=64",
    "train.micro_batch_seqs=2",
    "tokenizer.vocab_size=300",
    "model.num_layers=1",
    "model.embed_dim=32",
    "model.num_heads=2",
    "model.num_kv_heads=1",
    "model.head_dim=16",
    "model.ffn_dim=32",
)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Write the guide's files where the commands run, and forget its kind afterwards."""
    for name, content in FILES.items():
        (tmp_path / name).write_text(content, "utf-8")
    monkeypatch.setenv("BANYAN_PLUGINS", "")
    monkeypatch.setattr(TASK_KINDS, "_entries", dict(TASK_KINDS._entries))
    yield tmp_path
    sys.modules.pop("banyan_plugin_keywords", None)


def test_the_guide_shows_five_files_and_seven_commands() -> None:
    assert list(FILES) == ["tickets.csv", "helpdesk.yaml", "keywords.py", "articles.jsonl", "keywords.yaml"]
    assert len(COMMANDS) == 7


@pytest.mark.parametrize("recipe", ["helpdesk", "keywords"])
def test_every_command_of_the_guide_runs(banyan: Run, files: Path, recipe: str) -> None:
    for words in (words for words in COMMANDS if any(recipe in word for word in words)):
        ran = banyan(*words, *(TINY if words[0] == "train" else ()), "--json")
        assert ran.code == 0, (words, ran.err)
        if words[0] == "evaluate":
            [(name, task)] = ran.answer["tasks"].items()
            assert (name, task["main_metric"]) in {("queue", "macro_f1"), ("keywords", "f1")}
            assert bool(task["baselines"]) is (name == "queue")


def test_a_recipe_and_a_model_ask_for_a_kind_and_never_bring_one(
    banyan: Run, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = banyan("train", "keywords.yaml", *TINY)
    assert ran.code == 2 and "no task kind 'keywords'" in ran.error and "--plugin my_kind.py" in ran.err
    assert banyan("train", "keywords.yaml", *TINY, "--plugin", "keywords.py").code == 0
    monkeypatch.setenv("BANYAN_PLUGINS", "")
    del TASK_KINDS._entries["keywords"]
    ran = banyan("evaluate", "runs/keywords/best")
    assert ran.code == 4 and "no task kind 'keywords'" in ran.error and "--plugin my_kind.py" in ran.err
