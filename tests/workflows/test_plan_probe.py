import dataclasses
from pathlib import Path

import pytest

from banyan.workflows.plan_probe import ProbeReport, probe_recipe, read_probe, write_probe
from banyan.workflows.recipe import Recipe
from banyan.workflows.training import TrainingOutcome


@pytest.fixture(scope="module")
def report(tiny_recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> ProbeReport:
    recipe = dataclasses.replace(tiny_recipe, tasks=tiny_recipe.tasks[:2])
    return probe_recipe(recipe, tmp_path_factory.mktemp("probe"), seconds=0.3)


def test_a_probe_times_steps_an_evaluation_and_a_save(report: ProbeReport) -> None:
    found = report.measured
    assert found is not None and found.num_steps >= 4
    times = (found.step_seconds, found.evaluation_seconds, found.save_seconds, found.edge_seconds)
    assert all(0 < seconds < 60 for seconds in times)
    assert found.checkpoint_bytes > 4 * report.weights.total and found.log_bytes_per_step > 0
    assert 0 < found.base_bytes < found.step_peak_bytes <= found.peak_bytes


def test_a_probe_knows_the_run_it_stands_for(report: ProbeReport, tiny_recipe: Recipe) -> None:
    assert (report.steps, report.evaluation_interval) == (tiny_recipe.train.steps, tiny_recipe.train.evaluate_every)
    assert 0 < report.targets_per_step <= report.tokens_per_step <= 8 * 96


def test_the_weights_are_those_of_the_model_that_would_be_trained(
    tiny_recipe: Recipe, tiny_run: TrainingOutcome, tmp_path: Path
) -> None:
    report = probe_recipe(tiny_recipe, tmp_path, seconds=0.0)
    assert report.measured is None
    assert report.weights.total == tiny_run.num_parameters


def test_a_report_is_read_as_it_was_written(report: ProbeReport, tmp_path: Path) -> None:
    write_probe(tmp_path / "probe.json", report)
    assert read_probe(tmp_path / "probe.json") == report
