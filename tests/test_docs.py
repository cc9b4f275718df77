"""What the docs say is true: their commands run, their links lead somewhere, their tables match the code."""

from __future__ import annotations

import io
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from banyan.cli.main import VERBS, main
from banyan.core import errors
from banyan.core.errors import BanyanError
from banyan.testing.foreign_models import save_tiny_foreign_model
from banyan.workflows.training import TrainingOutcome

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LONG_RUNNING = {"serve", "demo"}  # tested as real processes elsewhere


def commands(page: str) -> list[list[str]]:
    """Return every `banyan …` line of a page's code blocks, without its remark."""
    blocks = re.findall(r"^```[a-z]*\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.M | re.S)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("banyan ")]
    return [shlex.split(re.split(r"\s{2,}#|\s#\s", line)[0]) for line in lines]


def write_user_files(folder: Path) -> None:
    (folder / "in.jsonl").write_text('{"text": "Open a file."}\n{"text": "关闭文件。"}\n', encoding="utf-8")
    (folder / "notes").mkdir()
    for number in range(12):
        (folder / "notes" / f"{number}.txt").write_text(
            f"Note {number}: the banyan grows. 榕树生长。\n" * 8, encoding="utf-8"
        )
    rows = "".join(f"A {['fine', 'poor'][i % 2]} day number {i},{['good', 'bad'][i % 2]}\n" for i in range(40))
    (folder / "reviews.csv").write_text("text,label\n" + rows)
    pairs = "".join(f'{{"en": "{i} apples", "de": "{i} Äpfel"}}\n' for i in range(40))
    (folder / "pairs.jsonl").write_text(pairs, encoding="utf-8")
    (folder / "zh.txt").write_text("榕树独木成林，根须落地成干。\n" * 40, encoding="utf-8")
    foreign = save_tiny_foreign_model("qwen2.5", folder / "Qwen2.5-0.5B")
    for ours in ("banyan.json", "model.json", "manifest.json"):
        (foreign / ours).unlink()
    shutil.copytree(ROOT / "recipes", folder / "recipes")
    write_pictures(folder / "pictures")
    for name in ("image_tokenizer", "pictures-cifar10", "picture-judge"):
        recipe = folder / "recipes" / f"{name}.yaml"
        text = recipe.read_text(encoding="utf-8").replace("test: cifar10}", "test: pictures, columns: {label: text}}")
        recipe.write_text(text.replace(": cifar10", ": pictures"), encoding="utf-8")
    (folder / "recipes/joint.yaml").write_text(TINY_JOINT, encoding="utf-8")


TINY_JOINT = """
name: joint
model: {preset: banyan-nano}
tokenizer: {vocab_size: 300}
train: {seq_len: 64}
tasks:
  - {name: prose, kind: language_modeling, data: {train: notes, validation: notes}}
  - {name: question_type, kind: classification, data: {train: reviews.csv, validation: reviews.csv, test: reviews.csv}}
"""


def write_pictures(folder: Path) -> None:
    """Write two classes of CIFAR's size, by folder."""
    rng = np.random.default_rng(0)
    for label in ("cat", "ship"):
        (folder / label).mkdir(parents=True)
        for number in range(12):
            pixels = rng.integers(0, 256, size=(32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number}.png")


def shortened(words: list[str]) -> list[str]:
    """Return a command with the work cut to a few steps; what it does stays the same."""
    if "--joint-vs-single" in words:
        return [*words, "--set", "minutes=null", "--set", "train.steps=1", "--seeds", "1"]
    if words[0] != "train":
        return [*words, "--num", "8"] if "--images" in words else words
    if "recipes/picture-judge.yaml" in words:
        return [*words, "training.epochs=1", "width=8"]
    if "recipes/image_tokenizer.yaml" in words:
        return [*words, "minutes=null", "train.steps=2", "train.micro_batch_seqs=4", "tokenizer.widths=[8, 16]"]
    kept = [word for word in words if not word.startswith(("train.steps", "model.preset"))]
    fewer = ["minutes=null", "train.steps=2"]
    if any(word.startswith("transfer.parent=") for word in words):  # sizes and tokenizer are the parent's
        return [
            *kept,
            *fewer,
            "train.seq_len=320",
            "tasks.question_type.data={train: reviews.csv, validation: reviews.csv}",
        ]
    if "recipes/pictures-cifar10.yaml" in words:
        return [*words, *fewer, "train.micro_batch_seqs=4", "model.num_layers=1"]
    return [*kept, *fewer, "train.seq_len=64", "model.preset=banyan-nano", "tokenizer.vocab_size=300"]


def test_every_command_of_the_readme_runs(
    tiny_run: TrainingOutcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_user_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BANYAN_RUNS", str(tmp_path / "runs"))
    best = tiny_run.run_directory / "best"
    asked = [words[1:] for words in commands("README.md") if words[1] not in LONG_RUNNING]
    assert len(asked) >= 18
    places = {"runs/demo/best": str(best)}
    (tmp_path / "runs").mkdir()
    for number, words in enumerate(asked):
        monkeypatch.setenv("BANYAN_RUNS", str(tmp_path / f"runs-{number}"))  # each `train` is a first one
        monkeypatch.setenv("BANYAN_DATABASE", f"sqlite:///{tmp_path / 'banyan.db'}")
        monkeypatch.setattr("sys.stdin", io.StringIO())  # a conversation that ends at once
        if "ID" in words:
            places["ID"] = newest_answer(capsys)
            words = [*words, str(best)]  # it does not lie in the folder of runs
        ready = shortened([places.get(word, word) for word in words])
        code = _run_apart(ready) if "--nproc" in ready else _run_here(ready)
        assert code == 0, (ready, capsys.readouterr().err)
        for run in (tmp_path / f"runs-{number}").glob("*/"):
            if not (tmp_path / "runs" / run.name).exists():
                (tmp_path / "runs" / run.name).symlink_to(run)


def newest_answer(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the number of the newest stored label."""
    capsys.readouterr()
    assert _run_here(["outputs", "list", "--task", "classification", "--limit", "1", "--json"]) == 0
    return str(json.loads(capsys.readouterr().out)["outputs"][0]["id"])


def _run_here(words: list[str]) -> object:
    with pytest.raises(SystemExit) as ended:
        main(words)
    return ended.value.code


def _run_apart(words: list[str]) -> int:
    """Start what starts processes in one of its own: the launcher leaves open files to the end of its process."""
    return subprocess.run([sys.executable, "-m", "banyan", *words], stdin=subprocess.DEVNULL).returncode


def test_both_readmes_name_the_same_commands() -> None:
    def plain(page: str) -> list[tuple[str, ...]]:
        return [tuple(word for word in words if word.isascii()) for words in commands(page)]

    english, chinese = plain("README.md"), plain("README.zh-CN.md")
    assert [words[1] for words in english] == [words[1] for words in chinese]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_named_is_a_verb_and_every_link_leads_somewhere(page: Path) -> None:
    for words in commands(str(page.relative_to(ROOT))):
        assert words[1] in VERBS or words[1].startswith("-"), words
    prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)#\s]+)\)", prose):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} → {target}"


def test_the_tours_files_exist_and_stay_readable() -> None:
    text = (ROOT / "docs" / "tour.md").read_text(encoding="utf-8")
    named = ["core/types.py", *re.findall(r"^## \d.* — `([a-z_/]+\.py)`", text, re.M)]
    lines = sum(len((ROOT / "src/banyan" / name).read_text(encoding="utf-8").splitlines()) for name in named)
    assert len(named) == 6
    assert lines + len(text.splitlines()) + len((ROOT / "README.md").read_text().splitlines()) < 1300


def test_the_table_of_exit_codes_is_complete() -> None:
    page = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    codes = {
        kind.exit_code for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, BanyanError)
    }
    for code in codes:
        assert f"| {code} |" in page
