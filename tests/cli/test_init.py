from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    for n in range(4):
        (folder / f"{n}.md").write_text(f"# Note {n}\nThe banyan 榕树 has sent down root number {n}.\n", "utf-8")
    return folder


def test_it_shows_three_examples_of_each_and_what_to_type_next(banyan: Run, notes: Path, tiny_files: Any) -> None:
    ran = banyan("init", "notes", tiny_files["classification"])
    assert ran.code == 0
    assert ran.out.count("  · ") == 6
    assert "labels: cold, warm" in ran.out
    assert ran.out.endswith("wrote recipe.yaml; next: banyan train recipe.yaml\n")


def test_the_recipe_runs_as_it_is(banyan: Run, notes: Path) -> None:
    report = banyan("init", "notes", "--json").answer
    assert (report["recipe"], [task["name"] for task in report["tasks"]]) == ("recipe.yaml", ["notes"])
    small = ("train.steps=1", "minutes=null", "model.num_layers=1", "model.embed_dim=64", "train.micro_batch_seqs=1")
    assert banyan("train", "recipe.yaml", *small, "--json").answer["steps"] == 1


def test_quiet_writes_the_recipe_alone(banyan: Run, notes: Path) -> None:
    ran = banyan("init", "notes", "--quiet", "-o", "quiet.yaml")
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert Path("quiet.yaml").is_file()


def test_a_recipe_that_is_there_stays_unless_asked(banyan: Run, notes: Path) -> None:
    Path("recipe.yaml").write_text("precious")
    ran = banyan("init", "notes")
    assert ran.code == 2 and "recipe.yaml exists already" in ran.error
    assert Path("recipe.yaml").read_text() == "precious"
    assert banyan("init", "notes", "--overwrite").code == 0


@pytest.mark.parametrize(
    ("content", "code", "problem"),
    [
        (None, 3, "rows.jsonl not found"),
        (b"", 5, "rows.jsonl is empty"),
        (b"\x00\x01", 3, "rows.jsonl is a binary file"),
        (b'{"text": "caf\xe9"}', 3, "rows.jsonl is not UTF-8 at byte 13"),
        (b'{"text": ', 5, "rows.jsonl line 1 is not valid JSON"),
    ],
    ids=["missing", "empty", "binary", "latin", "half"],
)
def test_files_that_cannot_be_read_are_one_line_and_no_recipe(
    banyan: Run, content: bytes | None, code: int, problem: str
) -> None:
    if content is not None:
        Path("rows.jsonl").write_bytes(content)
    ran = banyan("init", "rows.jsonl")
    assert (ran.code, ran.out) == (code, "")
    assert problem in ran.error
    assert not Path("recipe.yaml").exists()
