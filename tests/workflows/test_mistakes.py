"""Mistakes of a model whose training data is known, has gone, or holds the question itself."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from banyan.core.types import Completion, Prediction
from banyan.testing.model_directories import save_tiny_model
from banyan.workflows.mistakes import MistakesQuestion, confidence, find_mistakes
from banyan.workflows.reporter import SilentReporter
from banyan.workflows.training import TrainingOutcome


def test_an_example_of_the_training_data_is_not_its_own_neighbour(tiny_run: TrainingOutcome) -> None:
    asked = MistakesQuestion(task="classification", num=3, split="train", max_examples=40, num_neighbours=2)
    found = find_mistakes(tiny_run.run_directory / "best", asked, reporter=SilentReporter())
    assert found.mistakes and found.num_train > 100
    for mistake in found.mistakes:
        assert len(mistake.neighbours) == 2
        assert all((near.source, near.reference) != (mistake.source, mistake.reference) for near in mistake.neighbours)


def test_without_training_data_mistakes_come_alone_and_a_note_says_why(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("text,label\nan oak,tree\nan oak,树\n", "utf-8")
    asked = MistakesQuestion(task="topic", num=5, data=str(tmp_path / "own.csv"))
    found = find_mistakes(save_tiny_model(tmp_path / "model"), asked, reporter=SilentReporter())
    assert found.num_wrong == 1 and found.mistakes[0].neighbours == ()
    assert found.note is not None and "does not say what task topic was trained on" in found.note


def test_sureness_of_many_choices_is_their_geometric_mean() -> None:
    asked = Prediction(task="t", text="x")
    assert confidence(asked, Completion(tag_probs=(0.5, 0.125))) == pytest.approx(0.25)
    assert confidence(asked, Completion(token_log_probs=(math.log(0.5), math.log(0.125)))) == pytest.approx(0.25)
    assert confidence(asked, Completion()) is None
    assert confidence(Prediction(task="t", text="x", score=0.75), Completion()) == 0.75
