import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

Run = Callable[..., Any]
TEXTS = ["three days ago", "三天前"]


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_typed_texts_are_printed_as_json_lines_with_unit_vectors(banyan: Run, model: Path) -> None:
    found = lines(banyan("embed", model, *TEXTS).out)
    assert [line["text"] for line in found] == TEXTS
    assert all(abs(sum(number**2 for number in line["vector"]) - 1) < 1e-5 for line in found)


def test_the_three_forms_of_a_file_hold_the_same_vectors(banyan: Run, model: Path, tmp_path: Path) -> None:
    for form in ("npy", "jsonl", "safetensors"):
        ran = banyan("embed", model, *TEXTS, "--out", f"new/vectors.{form}", "--layer", -2)
        assert ran.out == f"2 vectors of 32 numbers (layer 1): new/vectors.{form}\n"
    array = np.load(tmp_path / "new/vectors.npy", allow_pickle=False)
    written = lines((tmp_path / "new/vectors.jsonl").read_text("utf-8"))
    with safe_open(tmp_path / "new/vectors.safetensors", framework="numpy") as file:
        tensors, facts = file.get_tensor("vectors"), file.metadata()
    assert array.dtype == np.float32 and array.shape == (2, 32)
    np.testing.assert_array_equal(array, tensors)
    np.testing.assert_array_equal(array, np.array([line["vector"] for line in written], dtype=np.float32))
    assert (facts["pooling"], facts["layer"], facts["normalised"]) == ("mean", "1", "true")


def test_pooling_layer_and_length_can_be_chosen(banyan: Run, model: Path) -> None:
    asked = [(), ("--pooling", "last"), ("--layer", 0), ("--no-normalise",)]
    answers = [banyan("embed", model, TEXTS[0], *words, "--json").answer for words in asked]
    assert len({json.dumps(answer["vectors"]) for answer in answers}) == len(asked)
    assert [answer["layer"] for answer in answers] == ["2", "2", "0", "2"]
    assert answers[3]["normalised"] == "false"


def test_lines_can_be_piped_in(banyan: Run, model: Path) -> None:
    piped = banyan("embed", model, "-", stdin="three days ago\n\n三天前\n")
    assert piped.out == banyan("embed", model, *TEXTS).out


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "three days ago\n\n三天前\n"),
        ("a.jsonl", '{"text": "three days ago"}\n{"text": "三天前"}\n'),
        ("a.csv", "text,label\nthree days ago,x\n三天前,y\n"),
    ],
)
def test_a_file_gives_one_vector_for_each_text(banyan: Run, model: Path, tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, "utf-8")
    assert banyan("embed", model, "--file", name).out == banyan("embed", model, *TEXTS).out


def test_a_column_can_be_named(banyan: Run, model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,wish\n1,three days ago\n", "utf-8")
    assert "no text in" in banyan("embed", model, "--file", "a.csv").error
    assert lines(banyan("embed", model, "--file", "a.csv", "--column", "wish").out)[0]["text"] == TEXTS[0]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--file", "missing.txt"], 3, "missing.txt not found"),
        (["--file", "empty.txt"], 5, "empty"),
        (["--file", "blank.txt"], 5, "blank.txt holds no text"),
        (["--file", "binary.txt"], 3, "binary.txt is a binary file"),
        (["--file", "bad.jsonl"], 5, "bad.jsonl"),
        (["text", "--file", "blank.txt"], 2, "either texts or --file"),
        ([], 2, "either texts or --file"),
        (["-"], 2, "standard input holds no text"),
        ([""], 2, "text 1 is empty"),
        (["fine", "--layer", "9"], 2, "layer=9 is not there"),
        (["fine", "--pooling", "men"], 2, "did you mean mean"),
        (["fine", "--out", "a.csv"], 2, "vectors are written as .npy"),
        (["word " * 400, "--refuse-long"], 2, "text 1 has"),
    ],
)
def test_what_cannot_be_embedded_is_said_in_one_line(
    banyan: Run, model: Path, tmp_path: Path, words: list[str], code: int, said: str
) -> None:
    (tmp_path / "empty.txt").touch()
    (tmp_path / "blank.txt").write_text(" \n\n")
    (tmp_path / "binary.txt").write_bytes(bytes(range(256)))
    (tmp_path / "bad.jsonl").write_text('{"text": \n')
    ran = banyan("embed", model, *words)
    assert ran.code == code and said in ran.error


def test_many_texts_are_numbered_through(banyan: Run, model: Path, tmp_path: Path) -> None:
    rows = [{"text": f"text {number}"} for number in range(300)] + [{"text": ""}]
    (tmp_path / "many.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "text 301 is empty" in banyan("embed", model, "--file", "many.jsonl", "--out", "a.npy").error
    assert not (tmp_path / "a.npy").exists()
