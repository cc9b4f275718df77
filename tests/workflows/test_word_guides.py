"""The guides to words, texts and vocabularies keep their word: every command in them runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from banyan.cli.main import main
from banyan.workflows.training import TrainingOutcome

GUIDES = Path(__file__).parents[2] / "docs/guides"


def commands(guide: str) -> list[list[str]]:
    blocks = re.findall(r"^```sh\n(.*?)^```", (GUIDES / guide).read_text(encoding="utf-8"), re.M | re.S)
    return [shlex.split(line)[1:] for block in blocks for line in block.splitlines() if line.startswith("banyan ")]


def write_files(folder: Path) -> None:
    (folder / "new_words.txt").write_text("blue\n蓝色\nbanyan\n", encoding="utf-8")
    (folder / "real.txt").write_text("def f1():\n    return 'blue' and so on. 红色\n" * 12, encoding="utf-8")
    (folder / "generated.txt").write_text("def f2():\n    return 'red'\n" * 3, encoding="utf-8")
    (folder / "russian.txt").write_text("Привет, мир! Это хороший день для прогулки по лесу.\n" * 9, encoding="utf-8")


@pytest.mark.parametrize("guide", ["compare.md", "vocabulary.md"])
def test_every_command_of_a_guide_runs(
    guide: str,
    tiny_run: TrainingOutcome,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BANYAN_DATABASE", f"sqlite:///{tmp_path / 'banyan.db'}")
    best = str(tiny_run.run_directory / "best")
    asked = commands(guide)
    assert len(asked) >= 4
    for words in asked:
        ready = [word.replace("runs/demo/best", best) for word in words]
        if "--compare" in ready and "--prompt-tokens" not in ready:  # the tiny model reads 96 tokens
            ready += ["--prompt-tokens", "8", "--sample-tokens", "16", "--num", "3"]
        with pytest.raises(SystemExit) as ended:
            main(ready)
        assert ended.value.code == 0, (ready, capsys.readouterr().err)
