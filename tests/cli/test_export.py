import json
import re
import shlex
from pathlib import Path

import pytest

from banyan.cli.main import main
from banyan.testing.known_sentences import save_known_sentences

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "export.md"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_known_sentences(tmp_path_factory.mktemp("models") / "tree")


def run(*words: object) -> object:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return ended.value.code


def test_one_line_says_what_was_written(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("export", model, tmp_path / "out") == 0
    line = capsys.readouterr().out
    assert re.fullmatch(r".*/out: qwen3, [\d,]+ parameters in float32, as stored, .* in 6 files\n", line)


def test_json_is_the_whole_report(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("export", model, tmp_path / "out", "--type", "f16", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["format"], report["weight_type"], report["left_behind"]) == ("hf", "float16", [])
    assert report["files"]["model.safetensors"] > 2 * report["num_parameters"]


def test_a_refusal_is_one_line_and_a_hint(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("export", model, tmp_path) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"error: {tmp_path} exists; an export begins a new folder.",
        "hint: name another folder",
    ]


def test_every_command_of_the_guide_runs(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [line for line in GUIDE.read_text("utf-8").splitlines() if line.startswith("banyan export ")]
    assert len(lines) >= 4
    monkeypatch.chdir(tmp_path)
    if any("gguf" in line for line in lines):
        pytest.importorskip("gguf", reason="the package gguf is not installed")
    for line in lines:
        words = shlex.split(line, comments=True)[1:]
        assert run(*[str(model) if word.startswith("runs/") else word for word in words]) == 0
