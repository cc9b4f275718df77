import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


def test_every_task_is_scored_on_what_was_held_out(banyan: Run, model: Path, tiny_files: dict[str, Path]) -> None:
    ran = banyan("evaluate", model, "--json")
    scored = ran.answer["tasks"]
    assert list(scored) == list(tiny_files) and ran.err == ""
    for task in scored.values():
        assert task["main_metric"] in task["scores"] and task["num_examples"] > 0
        low, high = task["intervals"][task["main_metric"]]
        assert low <= task["scores"][task["main_metric"]] <= high


def test_a_person_sees_a_table(banyan: Run, model: Path) -> None:
    ran = banyan("evaluate", model, "--task", "classification", "--task", "tagging")
    assert "accuracy" in ran.out and "tagging" in ran.out and "dialogue" not in ran.out
    assert [line.split(":")[0] for line in ran.err.splitlines()] == ["load", "score", "simple baselines"]
    assert "model better by" in ran.out and "TF-IDF + logistic regression" in ran.out


def test_a_users_file_is_scored_and_the_scores_are_stored(
    banyan: Run, model: Path, tiny_files: dict[str, Path], tmp_path: Path
) -> None:
    pair = f"classification={tiny_files['classification']}"
    written = ("--save-predictions", "p.jsonl", "--report", "new/report.md")
    ran = banyan("evaluate", model, "--data", pair, "--max-examples", 20, *written, "--json")
    assert list(ran.answer["tasks"]) == ["classification"]
    assert ran.answer["tasks"]["classification"]["num_examples"] == 20
    lines = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text("utf-8").splitlines()]
    right = sum(line["prediction"] == line["reference"] for line in lines)
    report = (tmp_path / "new" / "report.md").read_text("utf-8")
    assert f"{right} of 20 right." in report and "### classification" in report
    assert len(lines) == 20 and right / 20 == ran.answer["tasks"]["classification"]["scores"]["accuracy"]


def test_quiet_says_nothing(banyan: Run, model: Path) -> None:
    ran = banyan("evaluate", model, "--task", "tagging", "--quiet")
    assert (ran.code, ran.out, ran.err) == (0, "", "")


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        (["--split", "tset"], 2, "--split=tset is not known"),
        (["--task", "taging"], 2, "did you mean tagging?"),
        (["--data", "rows.jsonl"], 2, "is not of the form task=file"),
        (["--data", "taging=rows.jsonl"], 2, "did you mean tagging?"),
        (["--task", "tagging", "--data", "dialogue=rows.jsonl"], 2, "is for a task that --task leaves out"),
        (["--data", "tagging=none.jsonl"], 3, "none.jsonl not found"),
        (["--data", "tagging=empty.jsonl"], 5, "empty.jsonl is empty"),
        (["--data", "classification=rows.jsonl"], 5, "rows.jsonl: task classification cannot read 1 of 1 rows; row 1"),
        (["--data", "classification=label.jsonl"], 5, "label.jsonl: task classification"),
        (["--max-examples", "0"], 2, "--max-examples"),
        (["--task", "tagging", "--save-predictions", "rows.jsonl/p"], 6, "cannot write rows.jsonl/p"),
    ],
)
def test_what_cannot_be_scored_is_one_line(
    banyan: Run, model: Path, tmp_path: Path, words: list[str], code: int, problem: str
) -> None:
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "rows.jsonl").write_text('{"tokens": ["a"], "tags": ["O"]}\n')
    (tmp_path / "label.jsonl").write_text('{"text": "a", "label": "unheard of"}\n')
    ran = banyan("evaluate", model, *words)
    assert ran.code == code
    assert problem in ran.error


def test_generated_text_stands_beside_real_text(banyan: Run, model: Path, tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_text("def f1():\n    return 'blue' and so on" * 12, encoding="utf-8")
    words = ("--compare", "real.txt", "--prompt-tokens", 8, "--sample-tokens", 16, "--num", 3, "--seed", 1)
    answer = banyan("evaluate", model, *words, "--out", "compared", "--json").answer
    assert {"perplexity", "BLEU", "ROUGE-L", "chrF", "distinct-2", "seq-rep-4"} <= answer["scores"].keys()
    assert sorted(path.name for path in (tmp_path / "compared").iterdir()) == [
        "comparison.json", "comparison.png", "samples.jsonl"
    ]  # fmt: skip
    shown = banyan("evaluate", model, *words).out
    assert "bits_per_byte" in shown and "3 generated and 3 real texts" in shown


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        (["--compare", "none.txt"], 3, "none.txt not found"),
        (["--compare", "real.txt", "--sample-tokens", "500"], 2, "the model reads"),
        (["--compare", "real.txt", "--generated", "none.txt"], 3, "none.txt not found"),
        (["--generated", "real.txt"], 2, "--generated belongs to --compare"),
        (["--out", "folder"], 2, "--output belongs to --compare or --probe, not to scoring"),
        (["--prompt-tokens", "4"], 2, "--prompt-tokens belongs to --compare, not to scoring"),
        (["--probe", "classification", "--split", "test"], 2, "not to --probe"),
        (["--compare", "real.txt", "--probe", "classification"], 2, "give one of them"),
    ],
)
def test_texts_that_cannot_be_compared_are_one_line(
    banyan: Run, model: Path, tmp_path: Path, words: list[str], code: int, problem: str
) -> None:
    (tmp_path / "real.txt").write_text("a text " * 50, encoding="utf-8")
    ran = banyan("evaluate", model, *words)
    assert (ran.code, ran.out) == (code, "") and problem in ran.error


def test_a_probe_says_which_layer_carries_a_task(banyan: Run, model: Path, tmp_path: Path) -> None:
    rows = "".join(f"{word * 4} {n},{label}\n" for n in range(30) for word, label in (("a", "low"), ("z", "high")))
    (tmp_path / "rows.csv").write_text("text,label\n" + rows)
    answer = banyan("evaluate", model, "--probe", "rows.csv", "--out", "probed", "--json").answer
    assert [layer["layer"] for layer in answer["layers"]] == [0, 1, 2]
    assert answer["is_held"] and answer["layers"][answer["best"]]["accuracy"] > answer["majority"]["accuracy"]
    assert json.loads((tmp_path / "probed" / "probe.json").read_text()) == answer
    assert (tmp_path / "probed" / "probe.png").read_bytes().startswith(b"\x89PNG")
    shown = banyan("evaluate", model, "--probe", "rows.csv").out
    assert "0 (embeddings)" in shown and "commonest label" in shown and "carries rows.csv best" in shown


def test_a_probe_of_what_cannot_be_probed_is_one_line(banyan: Run, model: Path) -> None:
    ran = banyan("evaluate", model, "--probe", "tagging")
    assert ran.code == 2 and "of kind tagging" in ran.error
    assert banyan("evaluate", model, "--probe", "none.csv").code == 3
