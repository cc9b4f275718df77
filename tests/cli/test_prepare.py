from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def _notes(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    for n in range(6):
        (tmp_path / f"notes/{n}.txt").write_text(f"The banyan 榕树 has sent down root number {n % 5}.\n", "utf-8")


def written() -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in Path("corpus").iterdir() if path.name != ".lock"}


def test_texts_become_shards_once(banyan: Run) -> None:
    report = banyan("prepare", "notes", "--vocab-size", 270, "--json").answer
    assert (report["num_read"], report["num_documents"], report["num_duplicates"]) == (6, 5, 1)
    files = written()
    assert {"tokenizer.json", "corpus.json", "00000.shard"} <= set(files)
    assert banyan("prepare", "notes", "--vocab-size", 270, "--json").answer == report
    assert written() == files


def test_a_person_is_told_what_was_kept(banyan: Run) -> None:
    ran = banyan("prepare", "notes", "--output", "c", "--vocab-size", 270)
    assert ran.out.startswith("c: 5 of 6 documents") and "1 repeats" in ran.out
    assert banyan("prepare", "notes", "--output", "c", "--quiet").out == ""


def test_another_size_or_other_texts_make_another_tokenizer(banyan: Run) -> None:
    sizes = []
    for size in (256, 280):
        banyan("prepare", "notes", "--vocab-size", size, "--quiet")
        sizes.append(banyan("tokenizer", "inspect", "corpus", "--json").answer["vocab_size"])
    assert sizes == [256, 280]
    before = Path("corpus/tokenizer.json").read_bytes()
    Path("notes/0.txt").write_text("zzzz zzzz zzzz zzzz zzzz zzzz zzzz\n" * 3)
    banyan("prepare", "notes", "--vocab-size", 280, "--quiet")
    assert Path("corpus/tokenizer.json").read_bytes() != before


def test_a_given_tokenizer_cuts_the_texts(banyan: Run, model: Path) -> None:
    report = banyan("prepare", "notes", "--tokenizer", model, "--json").answer
    assert report["num_documents"] == 5
    assert Path("corpus/tokenizer.json").read_bytes() == (model / "tokenizer.json").read_bytes()


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        (["none"], 3, "none"),
        (["empty.txt"], 5, "empty.txt is empty"),
        (["binary.txt"], 3, "binary.txt is a binary file"),
        (["notes", "--tokenizer", "notes"], 3, "notes/tokenizer.json not found"),
        (["notes", "--output", "empty.txt"], 6, "cannot write empty.txt"),
        (["notes", "--vocab-size", "5"], 2, "--vocab-size"),
    ],
)
def test_what_cannot_be_prepared_is_one_line(banyan: Run, words: list[str], code: int, problem: str) -> None:
    Path("empty.txt").touch()
    Path("binary.txt").write_bytes(b"\x00\xff")
    ran = banyan("prepare", *words)
    assert (ran.code, ran.out) == (code, "")
    assert problem in ran.error


def test_a_model_directory_stays_whole(banyan: Run, own_model: Path) -> None:
    before = sorted(own_model.iterdir())
    ran = banyan("prepare", "notes", "--output", own_model)
    assert ran.code == 2 and "is a model directory" in ran.error
    assert sorted(own_model.iterdir()) == before


def test_a_broken_shard_is_made_again(banyan: Run) -> None:
    report = banyan("prepare", "notes", "--vocab-size", 270, "--json").answer
    shard = Path("corpus/00000.shard")
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-3])
    assert banyan("prepare", "notes", "--vocab-size", 270, "--json").answer == report
    assert shard.read_bytes() == whole
