"""What was saved is enough to score every prediction again."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sacrebleu import sentence_chrf

from banyan.workflows.evaluation import EvaluationRun, evaluate
from banyan.workflows.reporter import SilentReporter
from banyan.workflows.training import TrainingOutcome


@pytest.fixture(scope="module")
def saved(
    tiny_run: TrainingOutcome, tmp_path_factory: pytest.TempPathFactory
) -> tuple[EvaluationRun, list[dict[str, Any]]]:
    folder: Path = tmp_path_factory.mktemp("saved")
    run = evaluate(
        tiny_run.run_directory / "best",
        tasks=(),
        data=(),
        split="test",
        max_examples=4,
        save_predictions=folder / "predictions.jsonl",
        database=f"sqlite:///{folder}/scores.db",
        reporter=SilentReporter(),
    )
    return run, [json.loads(line) for line in (folder / "predictions.jsonl").read_text("utf-8").splitlines()]


def test_every_prediction_stands_beside_its_question_and_right_answers(
    saved: tuple[EvaluationRun, list[dict[str, Any]]],
) -> None:
    run, lines = saved
    assert len(lines) == sum(len(evaluation.predictions) for evaluation in run.evaluations.values()) > 20
    for line in lines:
        assert line["source"] and isinstance(line["prediction"], str) and isinstance(line["references"], list)
        assert line["reference"] in line["references"] or not line["references"]
        if line["task"] != "image_generation":
            assert run.evaluations[line["task"]].main_metric in {*line["scores"], "perplexity"}


def test_the_counts_of_all_lines_make_the_scores(saved: tuple[EvaluationRun, list[dict[str, Any]]]) -> None:
    run, lines = saved
    for name, evaluation in run.evaluations.items():
        own = [line["counts"] for line in lines if line["task"] == name]
        totals = np.zeros(evaluation.measurement.statistics.shape[1])
        for counts in own:
            totals[[int(column) for column in counts]] += list(counts.values())
        if own:
            assert evaluation.measurement.summarize(totals) == pytest.approx(evaluation.scores)


def test_a_line_is_scored_by_itself_with_the_official_scorer(
    saved: tuple[EvaluationRun, list[dict[str, Any]]],
) -> None:
    _, lines = saved
    for line in (line for line in lines if line["task"] == "translation"):
        assert line["scores"]["chrf"] == pytest.approx(sentence_chrf(line["prediction"], line["references"]).score)
    for line in (line for line in lines if line["task"] == "classification"):
        assert line["scores"]["accuracy"] == (line["prediction"] == line["reference"])


def test_official_scorers_sign_their_scores_with_their_versions(
    saved: tuple[EvaluationRun, list[dict[str, Any]]],
) -> None:
    signatures = {name: evaluation.measurement.signatures for name, evaluation in saved[0].evaluations.items()}
    assert signatures["tagging"]["f1"].startswith("seqeval|mode:strict") and "version:" in signatures["tagging"]["f1"]
    assert "version:" in signatures["summarization"]["rouge1"]
    assert "SQuAD 2.0 normaliser" in signatures["question_answering"]["exact_match"]
    assert all("version:" in text for name, text in signatures["translation"].items() if name.startswith("bleu/"))
    for name, evaluation in saved[0].evaluations.items():
        assert evaluation.main_metric in signatures[name]
        assert evaluation.intervals.keys() == evaluation.scores.keys()
