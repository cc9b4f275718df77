import dataclasses
from pathlib import Path

import pytest

from banyan.testing.clock import clock_with
from banyan.testing.transfer_runs import TransferRuns
from banyan.train.callbacks import CheckpointRecord, EvaluationRecord, StepRecord
from banyan.workflows import plan_probe
from banyan.workflows.plan_probe import ProbeReport, probe_recipe, read_probe, write_probe
from banyan.workflows.planned_devices import parse_devices
from banyan.workflows.planning import make_plan
from banyan.workflows.recipe import Recipe
from banyan.workflows.resuming import settle_recipe
from banyan.workflows.training import TrainingOutcome


@pytest.fixture(scope="module")
def report(tiny_recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> ProbeReport:
    recipe = dataclasses.replace(tiny_recipe, tasks=tiny_recipe.tasks[:2])
    return probe_recipe(recipe, tmp_path_factory.mktemp("probe"), seconds=0.3)


def test_a_probe_times_steps_an_evaluation_and_a_save(report: ProbeReport) -> None:
    found = report.measured
    assert found is not None and found.num_steps >= 4
    assert all(0 < seconds < 60 for seconds in (found.step_seconds, found.evaluation_seconds, found.edge_seconds))
    assert 0 <= found.save_seconds < 60  # what it delays the steps by, which may be hidden by how much they differ
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


def test_frozen_weights_are_known_and_need_neither_gradient_nor_memory(
    transfer_runs: TransferRuns, tmp_path: Path
) -> None:
    transfer = {"parent": str(transfer_runs.folder / "parent"), "mode": "head"}
    recipe = transfer_runs.recipe("child", [transfer_runs.task("trip")], transfer=transfer)
    report = probe_recipe(settle_recipe(recipe, tmp_path, resume=False), tmp_path, seconds=0.0)
    assert report.learning.total == report.learning.output == 2 * 16 + 2
    memory = make_plan(recipe, report, parse_devices("h200")).memory
    assert (memory.weights, memory.gradients, memory.optimizer) == (4 * report.weights.total, 4 * 34, 8 * 34)


def test_a_report_is_read_as_it_was_written(report: ProbeReport, tmp_path: Path) -> None:
    write_probe(tmp_path / "probe.json", report)
    assert read_probe(tmp_path / "probe.json") == report


def test_the_second_evaluation_counts_and_the_first_is_in_the_edges(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(plan_probe, "time", clock_with(perf_counter=lambda: now[0]))
    watch = plan_probe._Stopwatch()
    for step in range(1, 9):
        now[0] += 1.0
        watch.on_step(step_record(step, num_steps=8))
        if step in (4, 8):
            seconds = {4: 5.0, 8: 3.0}[step]
            now[0] += seconds + (0.5 if step == 4 else 0.0)  # the first one is followed by a picture
            watch.on_evaluation(
                EvaluationRecord(step=step, score=0.5, metrics={}, is_best=True, seconds=seconds),
            )
        if step == 5:  # a save that went on for one step and delayed it by 0.25 seconds
            now[0] += 0.25
            watch.on_checkpoint(CheckpointRecord(step=4, path=Path(), size_bytes=7, is_best=True, seconds=1.0))
    assert (watch.step_seconds, watch.evaluation_seconds, watch.plot_seconds) == (1.0, 3.0, 0.5)
    assert (watch.save_seconds, watch.first_seconds, watch.steps_from) == (0.25, 2.0, 100.0)


def step_record(step: int, *, num_steps: int) -> StepRecord:
    return StepRecord(
        step=step,
        num_steps=num_steps,
        loss=1.0,
        task_losses={},
        learning_rate=0.1,
        grad_norm=1.0,
        num_tokens=1,
        tokens_per_second=1.0,
        seconds=float(step),
        is_applied=True,
    )
