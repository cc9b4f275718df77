import dataclasses

import pytest

from banyan.core.config import config_from_mapping
from banyan.testing.models import tiny_model_config
from banyan.train.accounting import WeightCounts
from banyan.train.loss_plot import MIN_PAUSE_SECONDS
from banyan.workflows.plan_probe import Measured, ProbeReport
from banyan.workflows.planned_devices import parse_devices
from banyan.workflows.planning import make_plan
from banyan.workflows.recipe import Recipe

PROBE = Measured(
    num_steps=50,
    step_seconds=0.2,
    evaluation_seconds=3.0,
    plot_seconds=0.5,
    save_seconds=1.0,
    edge_seconds=0.7,
    checkpoint_bytes=1000,
    log_bytes_per_step=2.0,
    base_bytes=300_000_000,
    step_peak_bytes=500_000_000,
    peak_bytes=600_000_000,
)
REPORT = ProbeReport(
    model=tiny_model_config(),
    weights=WeightCounts(embedding=10_000, matrices=20_000, output=0, other=500),
    learning=WeightCounts(embedding=10_000, matrices=20_000, output=0, other=500),
    steps=1000,
    evaluation_interval=100,
    checkpoint_interval=250,
    tokens_per_step=400,
    targets_per_step=400,
    start_seconds=4.0,
    prepare_seconds=6.0,
    prepared_bytes=77,
    measured=PROBE,
)


@pytest.fixture
def recipe() -> Recipe:
    task = {"name": "prose", "kind": "language_modeling", "data": {"train": "x.txt"}}
    return config_from_mapping(Recipe, {"name": "x", "tasks": [task], "train": {"keep_checkpoints": 3}})


def test_time_counts_every_step_evaluation_and_save(recipe: Recipe) -> None:
    time = make_plan(recipe, REPORT).time
    assert (time.start, time.prepare, time.edges) == (4.0, 6.0, 0.7)
    assert time.steps == pytest.approx(1000 * 0.2)
    assert time.evaluations == 10 * 3.0
    assert time.saves == 11 * 1.0  # ten evaluations, two saves that are at no evaluation; the last one is an edge
    assert time.plots == pytest.approx((1 + 230 / MIN_PAUSE_SECONDS) * 0.5)
    assert time.total == pytest.approx(4 + 6 + 0.7 + 200 + 30 + 11 + time.plots)


def test_without_examples_nothing_is_evaluated(recipe: Recipe) -> None:
    plan = make_plan(recipe, dataclasses.replace(REPORT, evaluation_interval=None))
    assert (plan.size.num_evaluations, plan.time.evaluations, plan.time.plots) == (0, 0, 0)
    assert plan.size.num_saves == 4


def test_the_parts_of_memory_add_up_to_what_the_probe_held(recipe: Recipe) -> None:
    plan = make_plan(recipe, REPORT)
    assert plan.memory.total == pytest.approx(PROBE.step_peak_bytes, abs=2)
    assert plan.peak_bytes == PROBE.peak_bytes
    assert plan.memory.weights == 4 * 30_500
    assert plan.fits


def test_memory_that_the_machine_lacks_does_not_fit(recipe: Recipe) -> None:
    probe = dataclasses.replace(PROBE, peak_bytes=10**15)
    assert not make_plan(recipe, dataclasses.replace(REPORT, measured=probe)).fits


def test_the_disk_holds_kept_checkpoints_the_best_and_one_in_the_making(recipe: Recipe) -> None:
    disk = make_plan(recipe, REPORT).disk
    assert (disk.checkpoints, disk.prepared, disk.logs) == (5 * 1000, 77, 2000)


def test_several_machines_share_the_steps_and_say_what_is_assumed(recipe: Recipe) -> None:
    plan = make_plan(recipe, REPORT, parse_devices("4"))
    assert plan.time.steps == pytest.approx(50)
    assert plan.is_modelled and "links" in plan.assumptions[0]
    assert not make_plan(recipe, REPORT).assumptions


def test_an_accelerator_is_modelled_without_a_trained_probe(recipe: Recipe) -> None:
    plan = make_plan(recipe, dataclasses.replace(REPORT, measured=None), parse_devices("h200x8"))
    assert plan.is_modelled and plan.fits
    assert any("40%" in assumption and "989 TFLOP/s" in assumption for assumption in plan.assumptions)
    assert plan.available_bytes == 141e9
    assert plan.tokens_per_second > make_plan(recipe, REPORT).tokens_per_second


def test_more_devices_need_less_memory_each(recipe: Recipe) -> None:
    one, eight = (make_plan(recipe, REPORT, parse_devices(name)).memory for name in ("h200", "h200x8"))
    assert eight.activations * 8 == one.activations and eight.weights == one.weights


def test_the_first_weights_are_counted_where_they_are_kept(recipe: Recipe) -> None:
    def held(**changes: object) -> int:
        return make_plan(recipe, dataclasses.replace(REPORT, **changes)).memory.beginning

    assert held() == 4 * 30_500
    many = WeightCounts(embedding=0, matrices=10**9, output=0, other=0)
    assert held(weights=many) == 0  # too large for a copy in memory
