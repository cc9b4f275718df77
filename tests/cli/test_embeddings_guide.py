"""Every command and the Python of the guide to vectors run as they stand."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Run = Callable[..., Any]
PAGE = (Path(__file__).parents[2] / "docs/guides/embeddings.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.M | re.S)


@pytest.fixture(autouse=True)
def _files(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "Open a file."}\n{"text": "关闭文件。"}\n', encoding="utf-8")
    rows = "".join(f"A {['fine', 'poor'][n % 2]} day number {n},{['good', 'bad'][n % 2]}\n" for n in range(40))
    (tmp_path / "reviews.csv").write_text("text,label\n" + rows)


def test_every_command_of_the_guide_runs(banyan: Run, model: Path, tmp_path: Path) -> None:
    banyan("predict", model, "classification", "the path of a file")
    commands = [line for block in blocks("sh") for line in block.splitlines()]
    assert len(commands) == 6
    for command in commands:
        words = shlex.split(command.replace("runs/demo/best", str(model)))[1:]
        ran = banyan(*words)
        assert ran.code == 0, (command, ran.err)
    assert np.load(tmp_path / "vectors.npy").shape == (2, 32)
    assert (tmp_path / "probed" / "probe.png").exists() and (tmp_path / "vectors.safetensors").exists()


def test_the_python_of_the_guide_runs(model: Path) -> None:
    here = next(block for block in blocks("python") if "banyan.load" in block)
    names: dict[str, Any] = {}
    exec(here.replace("runs/demo/best", str(model)), names)  # the guide's own words
    assert names["vectors"].shape == (2, 32) and -1.001 <= names["cosine"] <= 1.001
