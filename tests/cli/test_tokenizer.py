from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def _notes(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/a.txt").write_text("The banyan 榕树 has roots. The roots have 42 branches.\n" * 4, "utf-8")


def test_a_tokenizer_is_trained_and_measured(banyan: Run) -> None:
    report = banyan("tokenizer", "train", "notes", "--vocab-size", 280, "--json").answer
    assert report["vocab_size"] == 280 and Path("tokenizer/tokenizer.json").is_file()
    scripts = {found["script"]: found for found in report["scripts"]}
    assert {"Latin", "Han", "digits"} <= set(scripts)
    shown = banyan("tokenizer", "train", "notes", "-o", "b", "--vocab-size", 280).out
    assert shown.startswith("b: 280 ordinary tokens") and "Han" in shown
    assert Path("b/tokenizer.json").read_bytes() == Path("tokenizer/tokenizer.json").read_bytes()


def test_it_shows_how_a_text_is_cut(banyan: Run, model: Path) -> None:
    report = banyan("tokenizer", "inspect", model, "--text", "red 世", "--json").answer
    pieces = report["pieces"]
    assert pieces[0]["start"] == 0 and pieces[-1]["end"] == len("red 世")
    assert len({found["script"] for found in report["scripts"]}) == 3
    shown = banyan("tokenizer", "inspect", model, "--text", "[red]").out
    assert "token" in shown and "Latin" in shown


def test_it_measures_files(banyan: Run, model: Path) -> None:
    report = banyan("tokenizer", "inspect", model, "notes", "--json").answer
    assert {found["script"] for found in report["scripts"]} >= {"Latin", "Han"} and report["pieces"] == []


def test_quiet_says_nothing(banyan: Run, model: Path) -> None:
    assert banyan("tokenizer", "train", "notes", "--vocab-size", 256, "--quiet").out == ""
    assert banyan("tokenizer", "inspect", model, "--text", "x", "--quiet").out == ""


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        (["train", "none"], 3, "none not found"),
        (["train", "empty.txt"], 5, "empty.txt is empty"),
        (["train", "binary.txt"], 3, "binary.txt is a binary file"),
        (["train", "notes", "--output", "empty.txt"], 6, "cannot write empty.txt"),
        (["train", "notes", "--vocab-size", "5"], 2, "--vocab-size"),
        (["inspect", "none"], 3, "none/tokenizer.json not found"),
        (["inspect", "foreign"], 4, "tokenizer.json"),
    ],
)
def test_what_cannot_be_used_is_one_line(banyan: Run, words: list[str], code: int, problem: str) -> None:
    Path("empty.txt").touch()
    Path("binary.txt").write_bytes(b"\x00\xff")
    Path("foreign").mkdir()
    Path("foreign/tokenizer.json").write_text("{}")
    ran = banyan("tokenizer", *words)
    assert (ran.code, ran.out) == (code, "")
    assert problem in ran.error


def test_text_that_is_no_unicode_is_one_line(banyan: Run, model: Path) -> None:
    ran = banyan("tokenizer", "inspect", model, "--text", "caf\udce9")
    assert ran.code == 2
    assert "lone surrogate U+DCE9" in ran.error


def test_a_model_keeps_its_own_tokenizer(banyan: Run, own_model: Path) -> None:
    before = (own_model / "tokenizer.json").read_bytes()
    ran = banyan("tokenizer", "train", "notes", "--output", own_model)
    assert ran.code == 2 and "is a model directory" in ran.error
    assert (own_model / "tokenizer.json").read_bytes() == before


def test_a_model_gets_more_tokens(banyan: Run, model: Path) -> None:
    learn = ("--learn", "notes", "--num-tokens", 10, "--word", "branching", "--word", "two words", "--special", "<|x|>")
    report = banyan("tokenizer", "grow", model, "grown", *learn, "--json").answer
    assert report["num_new_tokens"] > 10 and report["num_after"] >= report["num_before"]
    assert report["unlearned_words"] == ["two words"]
    answer = banyan("predict", "grown", "classification", "red thing", "--json").answer
    assert set(answer["predictions"][0]["labels"]) == {"cold", "warm"}
    shown = banyan("tokenizer", "grow", model, "again", *learn).out
    assert "new tokens" in shown and "two words" in shown and "image codes" in shown


def test_a_model_moves_to_another_tokenizer(banyan: Run, model: Path) -> None:
    banyan("tokenizer", "train", "notes", "--vocab-size", 300, "--quiet")
    report = banyan("tokenizer", "move", model, "tokenizer", "moved", "--json").answer
    assert report["num_copied"] >= 256 and report["num_unknown_special"] == 0
    assert banyan("generate", "moved", "The banyan", "--max-tokens", 3).code == 0
    assert "made of old pieces" in banyan("tokenizer", "move", model, "tokenizer", "again").out


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        (["grow", "MODEL", "out"], 2, "nothing was added"),
        (["grow", "MODEL", "out", "--learn", "none"], 3, "none not found"),
        (["grow", "MODEL", "out", "--words", "none.txt"], 3, "none.txt not found"),
        (["grow", "MODEL", "out", "--special", "<|bos|>"], 2, "<|bos|>' exists already"),
        (["grow", "MODEL", "notes", "--word", "branching"], 2, "notes is there already"),
        (["grow", "none", "out", "--word", "branching"], 3, "none is not a model directory"),
        (["move", "MODEL", "none", "out"], 3, "not found"),
        (["move", "MODEL", "damaged", "out"], 4, "tokenizer.json"),
    ],
)
def test_what_cannot_be_grown_or_moved_is_one_line(
    banyan: Run, model: Path, words: list[str], code: int, problem: str
) -> None:
    Path("damaged").mkdir()
    Path("damaged/tokenizer.json").write_text('{"model": {"type": "WordPiece", "vocab": {}}}')
    ran = banyan("tokenizer", *[str(model) if word == "MODEL" else word for word in words])
    assert (ran.code, ran.out) == (code, "") and problem in ran.error
    assert not Path("out").exists()
