"""`banyan demo`, with the growing itself replaced: what it plans, says and returns."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import banyan.cli.demo as verb
from banyan.core.errors import SpaceError
from banyan.workflows.demo import DemoOutcome, DemoPlan
from banyan.workflows.report import make_report, report_as_json
from banyan.workflows.training import TrainingOutcome

Run = Callable[..., Any]


@pytest.fixture
def grown(tiny_run: TrainingOutcome, monkeypatch: pytest.MonkeyPatch) -> list[DemoPlan]:
    """The plans that were asked for; each is answered with the tiny run, scored on nothing."""
    plans: list[DemoPlan] = []

    def run_demo(plan: DemoPlan, **_: Any) -> DemoOutcome:
        plans.append(plan)
        report = report_as_json(make_report(tiny_run, {}, stage_seconds={"training": 2.0}))
        return DemoOutcome(plan=plan, report=report, num_steps=report["steps"])

    monkeypatch.setattr(verb, "run_demo", run_demo)
    return plans


def test_a_person_is_told_the_three_commands_worth_typing_next(banyan: Run, grown: list[DemoPlan]) -> None:
    ran = banyan("demo")
    assert ran.code == 0
    run = grown[0].run_directory
    assert ran.out.splitlines()[-4:] == [
        "next:",
        f"  banyan chat {run}/best",
        f"  banyan serve {run}/best",
        "  banyan outputs list",
    ]


def test_programs_get_the_report(banyan: Run, grown: list[DemoPlan]) -> None:
    answer = banyan("demo", "--json").answer
    assert (answer["stopped_by"], answer["run"]) == ("completed", str(grown[0].run_directory))
    assert answer["stage_seconds"] == {"training": 2.0}


def test_quiet_says_nothing(banyan: Run, grown: list[DemoPlan]) -> None:
    ran = banyan("demo", "--quiet")
    assert (ran.code, ran.out, ran.err) == (0, "", "")


def test_the_options_reach_the_plan(banyan: Run, grown: list[DemoPlan], tmp_path: Path) -> None:
    banyan("demo")
    banyan("demo", "--quick", "--seed", 3, "--database", "other.db")
    banyan("demo", "--minutes", 30)
    assert [plan.run_directory.name for plan in grown] == ["demo", "demo-quick-seed3", "demo-30min"]
    assert [(plan.is_quick, plan.seed) for plan in grown] == [(False, 0), (True, 3), (False, 0)]
    assert grown[1].database == "other.db" and grown[0].database.endswith("banyan.db")
    assert grown[2].training_minutes > grown[0].training_minutes > grown[1].training_minutes


def test_an_interrupted_demo_says_how_to_go_on(banyan: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        verb, "run_demo", lambda plan, **_: DemoOutcome(plan=plan, report=None, num_steps=4, signal_number=2)
    )
    ran = banyan("demo")
    assert (ran.code, ran.out) == (130, "saved step 4; the same command goes on\n")
    assert banyan("demo", "--json").answer["stopped_by"] == "interrupt"


def test_a_full_disk_is_one_line(banyan: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(plan: DemoPlan, **_: Any) -> DemoOutcome:
        raise SpaceError("cannot write runs/demo: the disk is full.")

    monkeypatch.setattr(verb, "run_demo", fail)
    ran = banyan("demo")
    assert ran.code == 6
    assert "the disk is full" in ran.error


@pytest.mark.parametrize("words", [["--minutes", "0"], ["--minutes", "soon"], ["--seed", "-1"]], ids=" ".join)
def test_a_budget_that_makes_no_sense_is_one_line(banyan: Run, words: list[str]) -> None:
    ran = banyan("demo", *words)
    assert ran.code == 2
    assert words[0] in ran.error
