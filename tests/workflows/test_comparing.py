"""A model's results beside those of simple systems, and what can be concluded from it."""

import dataclasses
from collections.abc import Mapping
from typing import NoReturn

import pytest

from banyan.core.errors import DataError
from banyan.runtime.loaded_model import LoadedModel
from banyan.tasks.baselines.table import Baseline
from banyan.workflows import comparing
from banyan.workflows.comparing import add_baselines
from banyan.workflows.judge import Judge
from banyan.workflows.live_model import judges_of
from banyan.workflows.reporter import SilentReporter
from banyan.workflows.scoring import TaskResult, evaluate_model
from banyan.workflows.training import TrainingOutcome

FEW = 20  # resamples


def compared(
    loaded: LoadedModel, run: TrainingOutcome, judges: Mapping[str, Judge | None], *names: str
) -> Mapping[str, TaskResult]:
    material = run.material
    examples = {name: material.test[name] for name in names or material.test}
    return add_baselines(
        evaluate_model(loaded, examples, judges=judges, reporter=SilentReporter(), num_samples=FEW),
        material.train,
        judges=judges,
        image_tokenizer=material.image_tokenizer,
        reporter=SilentReporter(),
        num_samples=FEW,
    )


@pytest.fixture(scope="module")
def results(loaded: LoadedModel, tiny_run: TrainingOutcome) -> Mapping[str, TaskResult]:
    """Every task of the tiny run with its baselines."""
    return compared(loaded, tiny_run, judges_of(tiny_run.material))


def test_every_task_stands_beside_a_trivial_system(results: Mapping[str, TaskResult]) -> None:
    assert len(results) == 8
    for name, result in results.items():
        trivial = [baseline for baseline in result.baselines if baseline.is_trivial]
        assert trivial, name
        assert result.beats_trivial is all(baseline.comparison.is_better for baseline in trivial)
        for baseline in result.baselines:
            assert baseline.evaluation.num_examples == result.evaluation.num_examples
            assert result.evaluation.main_metric in baseline.evaluation.scores


def test_text_is_compared_with_bytes_n_grams_and_a_compressor(results: Mapping[str, TaskResult]) -> None:
    baselines = {baseline.name: baseline for baseline in results["language_modeling"].baselines}
    assert len(baselines) >= 3 and "xz" in " ".join(baselines)
    assert all(baseline.evaluation.score > 0 for baseline in baselines.values())


def test_a_comparison_has_the_sign_of_the_difference(results: Mapping[str, TaskResult]) -> None:
    for result in results.values():
        for baseline in result.baselines:
            difference = result.evaluation.score - baseline.evaluation.score
            better = -difference if result.evaluation.lower_is_better else difference
            assert baseline.comparison.improvement == pytest.approx(better, abs=1e-9)


def test_a_model_that_knows_all_answers_beats_the_trivial_system(results: Mapping[str, TaskResult]) -> None:
    result = results["classification"]
    (trivial, *_) = [baseline for baseline in result.baselines if baseline.is_trivial]
    sure = dataclasses.replace(trivial.comparison.interval, low=0.1, high=0.9)
    won = dataclasses.replace(trivial, comparison=dataclasses.replace(trivial.comparison, interval=sure))
    assert dataclasses.replace(result, baselines=(won,)).beats_trivial is True


def test_pictures_without_a_judge_have_nothing_to_stand_beside(loaded: LoadedModel, tiny_run: TrainingOutcome) -> None:
    results = compared(loaded, tiny_run, {}, "image_generation")
    assert results["image_generation"].baselines == ()
    assert results["image_generation"].beats_trivial is None


def test_a_system_that_cannot_learn_is_left_out_with_a_line(
    results: Mapping[str, TaskResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    class Listening(SilentReporter):
        def line(self, text: str) -> None:
            said.append(text)

    def learn() -> NoReturn:
        raise DataError("These texts say nothing.")

    odd = Baseline(name="odd", learn=learn)
    monkeypatch.setattr(comparing, "baselines_for", lambda task, train: (odd,))
    alone = {"classification": results["classification"]}
    found = add_baselines(alone, {"classification": [1]}, judges={}, image_tokenizer=None, reporter=Listening())
    assert found["classification"].baselines == () and said == ["These texts say nothing. It is left out."]
