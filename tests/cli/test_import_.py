import json
import os
import re
import shutil
from pathlib import Path

import pytest

from banyan.cli.main import main
from banyan.model.checkpoint import save_model
from banyan.testing.models import tiny_model, tiny_model_config
from banyan.transfer.foreign_config import ARCHITECTURES
from banyan.transfer.formats import WEIGHT_FORMATS

pytest.importorskip("h5py", reason="needs the extra keras")
ROOT = Path(__file__).parent.parent.parent
FIXTURE = ROOT / "tests" / "fixtures" / "keras-gpt2"
GUIDE = ROOT / "docs" / "guides" / "import.md"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "keras"
    shutil.copytree(FIXTURE, folder)
    return folder


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as done:
        main([str(word) for word in words])
    return int(done.value.code or 0)


def test_a_model_is_imported_and_told_in_one_line(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("import", source, tmp_path / "mine") == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1 and "gpt2, 4,344 parameters in F32" in out
    assert (tmp_path / "mine" / "manifest.json").is_file()


def test_a_check_prints_a_table(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("import", source, "--check") == 0
    out = capsys.readouterr().out
    for words in ("keras_gpt2", "28 tensors, all present, F32", "275 rows, the tokenizer uses 275", "plain"):
        assert words in out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["keras"]


def test_a_check_is_one_json_object_where_that_is_asked(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("import", source, "--check", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["architecture"], found["num_parameters"]) == ("gpt2", 4344)


@pytest.mark.parametrize("words", [["--check"], ["OUT"]])
def test_a_source_that_cannot_be_imported_is_one_line_and_exit_code_4(
    source: Path, tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (source / "tf_model.h5").write_bytes((source / "tf_model.h5").read_bytes()[:9000])
    words = [str(tmp_path / "mine") if word == "OUT" else word for word in words]
    assert run("import", source, *words) == 4
    lines = capsys.readouterr().err.strip().splitlines()
    assert [line for line in lines if line.startswith("error: ")] == [lines[-1]]
    assert not (tmp_path / "mine").exists()


def test_a_pickle_is_refused_with_exit_code_4(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x02}q\x00.")
    assert run("import", tmp_path, tmp_path / "mine") == 4
    err = capsys.readouterr().err
    assert "is a pickle" in err and "hint: " in err


def test_a_destination_is_needed_unless_it_is_only_a_check(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("import", source) == 2
    assert "the new model directory is missing" in capsys.readouterr().err


def write_sources(folder: Path) -> None:
    """Write what the guide's commands name, at tiny sizes."""
    shutil.copytree(FIXTURE, folder / "gpt2-keras")
    qwen3 = folder / "Qwen3-0.6B"
    save_model(tiny_model(tiny_model_config(vocab_size=275)), qwen3, eos_ids=[274])
    (qwen3 / "model.json").unlink()
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(FIXTURE / name, qwen3 / name)
    if data := os.environ.get("BANYAN_DATA"):
        shutil.copytree(Path(data) / "stories260K", folder / "stories260K")


def test_the_commands_of_the_guide_do_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_sources(tmp_path / "downloads")
    monkeypatch.chdir(tmp_path)
    commands = re.findall(r"^banyan (import .+)$", GUIDE.read_text(encoding="utf-8"), re.M)
    assert len(commands) == 4
    for command in commands:
        words = command.split()
        if Path(words[1]).exists():  # the pretrained model is there with the shared data alone
            assert run(*words) == 0, (command, capsys.readouterr().err)


def test_the_guide_names_every_format_and_architecture() -> None:
    page = GUIDE.read_text(encoding="utf-8")
    for name in (*WEIGHT_FORMATS, *ARCHITECTURES):
        assert f"`{name}`" in page
