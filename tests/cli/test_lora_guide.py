"""docs/guides/lora.md keeps its word: its recipe trains, its commands run, its Python lines answer."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from banyan.testing.model_directories import save_tiny_model

Run = Callable[..., Any]
GUIDE = (Path(__file__).parents[2] / "docs/guides/lora.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Return the guide's blocks of code in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", GUIDE, re.M | re.S)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model and the guide's files, to stand in."""
    save_tiny_model(tmp_path / "runs/prose/best")
    [recipe] = blocks("yaml")
    (tmp_path / "reviews.yaml").write_text(recipe)
    rows = "".join(f"A {('fine', 'poor')[n % 2]} book number {n},{('good', 'bad')[n % 2]}\n" for n in range(40))
    for name in ("reviews.csv", "more-reviews.csv"):
        (tmp_path / name).write_text("text,label\n" + rows)
    monkeypatch.setenv("BANYAN_RUNS", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_guides_commands_run_in_their_order(banyan: Run, folder: Path) -> None:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    asked = [shlex.split(line)[1:] for line in lines if not line.startswith("banyan serve")]
    assert [words[0] for words in asked] == ["train", "evaluate", "predict", "predict", "export"]
    for words in asked:
        ran = banyan(*words, *(["train.steps=2"] if words[0] == "train" else []))
        assert ran.code == 0, (words, ran.error)
    python = next(block for block in blocks("python") if "load_adapter" in block)
    exec(compile(python, "lora.md", "exec"), {})
    merging = next(block for block in blocks("python") if "merge_adapter" in block)
    exec(compile(merging, "lora.md", "exec"), {})
    assert (folder / "reviews-merged/manifest.json").is_file()


def test_the_serving_line_of_the_guide_is_one_the_program_reads(banyan: Run, folder: Path) -> None:
    [line] = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("banyan serve")]
    ran = banyan(*shlex.split(line)[1:])
    assert ran.code == 3 and "runs/reviews/best is not an adapter's folder" in ran.error  # not trained here
