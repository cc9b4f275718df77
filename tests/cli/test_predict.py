"""`banyan predict`: texts as typed, files in batches, and every answer in the database."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from banyan.cli.predict import describe
from banyan.core.types import Entity, Image, Prediction
from banyan.testing.processes import started

Run = Callable[..., Any]


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_each_text_gets_an_answer_that_is_stored(banyan: Run, model: Path) -> None:
    answer = banyan("predict", model, "classification", "red thing", "蓝色 thing", "--json").answer
    assert answer["task"] == "classification"
    assert [set(found["labels"]) for found in answer["predictions"]] == [{"cold", "warm"}] * 2
    stored = banyan("outputs", "list", "--json").answer["outputs"]
    assert [row["body"] for row in stored] == [{"text": "蓝色 thing"}, {"text": "red thing"}]
    assert [row["outputs"][0]["text"] for row in stored] == [found["text"] for found in answer["predictions"][::-1]]
    assert {row["model"] for row in stored} == {"tiny"}


def test_what_is_stored_says_how_it_was_drawn(banyan: Run, model: Path) -> None:
    banyan("predict", model, "dialogue", "What is red?", "--temperature", 0.5, "--seed", 3, "--max-tokens", 2)
    (row,) = banyan("outputs", "list", "--json").answer["outputs"]
    assert (row["params"]["temperature"], row["params"]["max_tokens"], row["seed"]) == (0.5, 2, 3)


def test_the_same_seed_gives_the_same_answer_and_another_another(banyan: Run, model: Path) -> None:
    said = [banyan("predict", model, "language_modeling", "def f", "--seed", seed).out for seed in (1, 1, 2)]
    assert said[0] == said[1] != said[2]


@pytest.mark.parametrize(
    ("task", "text"),
    [
        ("tagging", "see red in Paris"),
        ("question_answering", "What is the default of width? ||| f3(width=3) makes red."),
        ("translation", "en>de: 3 apples"),
        ("summarization", "def name(x): return x"),
        ("dialogue", "What is red?"),
        ("image_generation", "图片1"),
        ("language_modeling", "def f"),
    ],
)
def test_every_task_answers_a_line(banyan: Run, model: Path, task: str, text: str) -> None:
    ran = banyan("predict", model, task, text)
    assert ran.code == 0 and ran.out.endswith("\n") and ran.err == ""


@pytest.mark.parametrize(
    ("prediction", "shown"),
    [
        (Prediction(task="t", text="a", labels={"a": 0.75, "b": 0.25}), "a 75.0%   b 25.0%"),
        (Prediction(task="t", text="", entities=()), "(nothing found)"),
        (
            Prediction(task="t", text="", entities=(Entity(label="place", start=0, end=5, text="Paris"),)),
            "place: Paris",
        ),
        (Prediction(task="t", text="3", score=0.5), "3   (50.0%)"),
        (Prediction(task="t", text="", image=Image(width=4, height=4, channels=1, pixels=bytes(16))), "4×4 pixels"),
    ],
    ids=["labels", "nothing", "entities", "span", "picture"],
)
def test_an_answer_is_shown_on_a_line(prediction: Prediction, shown: str) -> None:
    assert shown in describe(prediction)


def test_a_file_is_answered_line_by_line_in_its_order(banyan: Run, model: Path, tmp_path: Path) -> None:
    rows = [{"text": f"thing {n}"} for n in range(70)]
    source, output = write_rows(tmp_path / "in.jsonl", rows), tmp_path / "new" / "out.jsonl"
    done = banyan("predict", model, "classification", "--file", source, "--output", output, "--json").answer
    assert done == {"output": str(output), "num_answered": 70, "num_found": 0, "num_failed": 0}
    lines = lines_of(output)
    assert [line["input"] for line in lines] == rows
    assert {line["prediction"] for line in lines} <= {"cold", "warm"}
    assert len(banyan("outputs", "list", "--limit", 99, "--json").answer["outputs"]) == 70
    again = banyan("predict", model, "classification", "--file", source, "--output", output)
    assert again.out == f"0 rows answered, 70 were there: {output}\n"


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.7, 1.0])
def test_a_file_that_was_cut_off_is_completed_to_the_same_bytes(
    banyan: Run, model: Path, tmp_path: Path, kept: float
) -> None:
    """Also where the same question is drawn again and again, each time with a seed of its own."""
    source = write_rows(tmp_path / "in.jsonl", [{"text": "same"}] * 90)
    words = ("predict", model, "language_modeling", "--file", source, "--max-tokens", 3, "--output")
    banyan(*words, "whole.jsonl")
    whole = Path("whole.jsonl").read_bytes()
    assert len({line["prediction"] for line in lines_of(Path("whole.jsonl"))}) > 20
    Path("cut.jsonl").write_bytes(whole[: int(kept * len(whole))])
    assert banyan(*words, "cut.jsonl").code == 0
    assert Path("cut.jsonl").read_bytes() == whole


def _hear_interrupts() -> None:
    """A shell that puts the tests into the background lets them, and what they start, ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_an_interrupted_process_says_where_it_is_and_goes_on(banyan: Run, model: Path, tmp_path: Path) -> None:
    source = write_rows(tmp_path / "in.jsonl", [{"text": f"the thing number {n} is red"} for n in range(4000)])
    words = ["predict", str(model), "classification", "--file", str(source), "--output", "out.jsonl"]
    command, environment = [sys.executable, "-m", "banyan", *words], {**os.environ, "OMP_NUM_THREADS": "1"}
    with started(command, stderr=subprocess.PIPE, env=environment, preexec_fn=_hear_interrupts) as process:
        deadline = time.monotonic() + 120
        output = Path("out.jsonl")
        while not (output.exists() and output.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGSTOP)  # it must not come to its end while the other one starts
        busy = banyan(*words)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGCONT)
        _, said = process.communicate(timeout=120)
    assert (busy.code, process.returncode) == (8, 130)
    assert "is being written by another process" in busy.error
    num_lines = output.read_bytes().count(b"\n")
    assert 0 < num_lines < 4000
    assert f"{num_lines} of 4000 rows are in out.jsonl; the same command goes on" in said
    write_rows(source, [json.loads(line) for line in source.read_text("utf-8").splitlines()[: num_lines + 10]])
    assert banyan(*words, "--json").answer["num_answered"] == 10


def test_rows_that_cannot_be_answered_say_why(banyan: Run, model: Path, tmp_path: Path) -> None:
    source = write_rows(tmp_path / "in.jsonl", [{"text": "red"}, {"body": "blue"}, {"text": ""}])
    ran = banyan("predict", model, "classification", "--file", source, "--output", "out.jsonl")
    assert ran.code == 0
    assert ran.out == "1 rows answered, 2 could not be answered (their lines say why): out.jsonl\n"
    lines = lines_of(Path("out.jsonl"))
    assert [("error" in line, "prediction" in line) for line in lines] == [(False, True)] + [(True, False)] * 2
    assert "no 'text'" in lines[1]["error"] and "blank" in lines[2]["error"]


def test_a_file_for_another_task_is_refused_before_anything_is_written(
    banyan: Run, model: Path, tiny_files: dict[str, Path]
) -> None:
    ran = banyan("predict", model, "classification", "--file", tiny_files["tagging"], "--output", "out.jsonl")
    assert ran.code == 5
    assert "none of the first 64 rows can be answered; row 1: the row has no 'text'" in ran.error
    assert Path("out.jsonl").read_bytes() == b""


def test_answers_of_different_tasks_and_files_are_never_mixed(
    banyan: Run, model: Path, tiny_files: dict[str, Path]
) -> None:
    source = tiny_files["classification"]
    banyan("predict", model, "classification", "--file", source, "--output", "out.jsonl", "-q")
    before = Path("out.jsonl").read_bytes()
    other_task = banyan("predict", model, "language_modeling", "--file", source, "--output", "out.jsonl")
    assert other_task.code == 5 and "was answered with task 'classification'" in other_task.error
    other_file = banyan(
        "predict", model, "classification", "--file", tiny_files["language_modeling"], "--output", "out.jsonl"
    )
    assert other_file.code == 5 and "out.jsonl:1 does not answer row 1 of the input" in other_file.error
    rows = source.read_bytes()
    itself = banyan("predict", model, "classification", "--file", source, "--output", source)
    assert itself.code == 5 and source.read_bytes() == rows
    assert Path("out.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        (["clasification", "x"], 2, "no task 'clasification'; did you mean classification?"),
        (["classification"], 2, "give either texts or --file"),
        (["classification", "x", "--file", "in.jsonl"], 2, "give either texts or --file"),
        (["classification", "--file", "in.jsonl"], 2, "--file and --output belong together"),
        (["classification", " "], 2, "cannot label a blank text"),
        (["classification", "caf\udce9"], 2, "lone surrogate U+DCE9 at character 3"),
        (["question_answering", "why?"], 2, "question_answering"),
        (["classification", "--file", "none.jsonl", "--output", "o"], 3, "none.jsonl not found"),
        (["classification", "--file", "empty.jsonl", "--output", "o"], 5, "empty.jsonl is empty"),
        (["classification", "--file", "binary.jsonl", "--output", "o"], 3, "binary.jsonl is a binary file"),
        (["classification", "--file", "latin.jsonl", "--output", "o"], 3, "latin.jsonl is not UTF-8 at byte 13"),
        (["classification", "--file", "half.jsonl", "--output", "o"], 5, "half.jsonl line 2 is not valid JSON"),
        (["classification", "--file", "good.jsonl", "--output", "."], 6, "cannot write .: Is a directory"),
        (["classification", "--file", "good.jsonl", "--output", "good.jsonl/o"], 6, "cannot write good.jsonl/o"),
    ],
)
def test_questions_that_cannot_be_asked_are_one_line(
    banyan: Run, model: Path, words: list[str], code: int, problem: str
) -> None:
    Path("empty.jsonl").touch()
    Path("binary.jsonl").write_bytes(b"\x00\x01\xff")
    Path("latin.jsonl").write_bytes(b'{"text": "caf\xe9"}')
    Path("half.jsonl").write_bytes(b'{"text": "a"}\n{"te')
    Path("good.jsonl").write_bytes(b'{"text": "a"}\n')
    ran = banyan("predict", model, *words)
    assert ran.code == code
    assert problem in ran.error


def test_a_mark_at_the_start_and_windows_line_ends_do_no_harm(banyan: Run, model: Path) -> None:
    Path("in.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "a"}\r\n{"text": "b"}\r\n')
    assert (
        banyan("predict", model, "classification", "--file", "in.jsonl", "--output", "o", "--json").answer[
            "num_answered"
        ]
        == 2
    )


def damage(directory: Path, how: str) -> None:
    weights = directory / "model.safetensors"
    if how == "truncated":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif how == "flipped":
        content = bytearray(weights.read_bytes())
        content[len(content) // 2] ^= 1
        weights.write_bytes(content)
    elif how == "pickle":
        weights.write_bytes(pickle.dumps({"weights": [1.0]}))
    elif how == "incomplete":
        (directory / "tokenizer.json").unlink()
    elif how == "unsigned":
        (directory / "manifest.json").unlink()
    elif how == "unreadable":
        (directory / "manifest.json").write_text("{")
    elif how == "foreign":
        (directory / "extra.txt").touch()


@pytest.mark.parametrize(
    ("how", "problem"),
    [
        ("truncated", "(file is truncated)"),
        ("flipped", "sha256 mismatch (file is corrupt)"),
        ("pickle", "model.safetensors has"),
        ("incomplete", "tokenizer.json' is missing"),
        ("unsigned", "has no manifest.json"),
        ("unreadable", "manifest.json cannot be read"),
        ("foreign", "extra.txt is not in the manifest"),
    ],
)
def test_a_damaged_model_never_answers(banyan: Run, own_model: Path, how: str, problem: str) -> None:
    damage(own_model, how)
    ran = banyan("predict", own_model, "classification", "x")
    assert (ran.code, ran.out) == (4, "")
    assert problem in ran.error


def test_what_is_no_model_is_told_apart(banyan: Run, model: Path, tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(pickle.dumps(1))
    assert banyan("predict", "none", "t", "x").error == "none is not a model directory."
    assert banyan("predict", "model.pt", "t", "x").code == 3
    run = banyan("predict", model.parent, "t", "x")
    assert run.code == 4 and f"its best model is {model}" in run.err


def test_an_answer_that_cannot_be_stored_is_not_given(banyan: Run, model: Path, tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("this is no database, but a text that is long enough to look like a file")
    ran = banyan("predict", model, "classification", "x", "--database", tmp_path / "text.db")
    assert (ran.code, ran.out) == (10, "")
    assert "text.db" in ran.error


def test_words_of_a_list_are_scored_in_context_and_written(banyan: Run, model: Path, tmp_path: Path) -> None:
    (tmp_path / "new.txt").write_bytes("\ufeffblue\r\n\r\n蓝色\r\nblue\r\n".encode())
    words = ("--words", "new.txt", "--context", "return '{word}'", "--context", "a {word}", "--continue", 3)
    answer = banyan("predict", model, "language_modeling", *words, "--out", "words.csv", "--json").answer
    scores = answer["report"]["scores"]
    assert [(score["context"], score["word"]) for score in scores] == [
        ("return '{word}'", "blue"), ("return '{word}'", "蓝色"), ("a {word}", "blue"), ("a {word}", "蓝色")
    ]  # fmt: skip
    assert all(score["log_prob"] < 0 and score["first_rank"] >= 1 for score in scores)
    assert answer["left_out"] == {"empty": 1, "repeated": 1}
    assert len((tmp_path / "words.csv").read_text("utf-8").splitlines()) == 5
    shown = banyan("predict", model, "language_modeling", *words).out
    assert "a [蓝色]" in shown and "left out: 1 empty, 1 repeated" in shown


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        (["classification", "--words", "new.txt"], 2, "task classification is of kind classification"),
        (["language_modeling", "--words", "none.txt"], 3, "none.txt not found"),
        (["language_modeling", "--words", "empty.txt"], 5, "empty.txt holds no word (the file is empty)"),
        (["language_modeling", "--words", "new.txt", "--context", "nothing"], 2, "must hold it once"),
        (["language_modeling", "--words", "new.txt", "--out", "words.doc"], 2, "does not end in .csv or .jsonl"),
        (["language_modeling", "--words", "new.txt", "a text"], 2, "--words takes its words from a file"),
        (["language_modeling", "a text", "--context", "a {word}"], 2, "--context is where the words"),
    ],
)
def test_words_that_cannot_be_scored_are_one_line(
    banyan: Run, model: Path, tmp_path: Path, words: list[str], code: int, problem: str
) -> None:
    (tmp_path / "new.txt").write_text("blue\n", encoding="utf-8")
    (tmp_path / "empty.txt").write_text("", encoding="utf-8")
    ran = banyan("predict", model, *words)
    assert (ran.code, ran.out) == (code, "") and problem in ran.error


def test_a_free_text_can_be_searched_for(banyan: Run, model: Path) -> None:
    words = ("--num-beams", 3, "--length-penalty", 0.6, "--no-repeat-ngram", 2, "--max-tokens", 6)
    answer = banyan("predict", model, "translation", "en>de: three red things", *words, "--json").answer
    assert answer["predictions"][0]["text"]
    ran = banyan("predict", model, "translation", "en>de: three", "--num-beams", 3, "--temperature", 0.5)
    assert ran.code == 2 and "num_beams=3 does not go with temperature" in ran.error


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ("en>xx: three", 'cannot translate into target_language="xx"; it was taught de, en.'),
        ("de>en: drei", 'cannot translate from source_language="de"; it was taught en, zh.'),
        ("en>en: three", 'cannot translate from "en" into itself'),
    ],
    ids=["into what nobody taught", "from what was only translated into", "into itself"],
)
def test_a_language_that_a_translation_was_not_taught_is_refused(
    banyan: Run, model: Path, asked: str, problem: str
) -> None:
    ran = banyan("predict", model, "translation", asked)
    assert (ran.code, ran.out) == (2, "") and problem in ran.error and "hint: " in ran.err
    assert banyan("outputs", "list", "--json").answer["outputs"] == []


def test_a_row_in_an_unknown_language_is_named_and_the_others_are_answered(
    banyan: Run, model: Path, tmp_path: Path
) -> None:
    rows = [{"source": "three", "source_language": "en", "target_language": to} for to in ("de", "xx")]
    output = tmp_path / "answers.jsonl"
    banyan("predict", model, "translation", "--file", write_rows(tmp_path / "rows.jsonl", rows), "--output", output)
    good, bad = lines_of(output)
    assert "prediction" in good and "error" not in good
    assert 'target_language="xx"' in bad["error"] and "prediction" not in bad
