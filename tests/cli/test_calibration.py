"""`banyan evaluate --calibrate`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

Run = Callable[..., Any]


def test_a_model_is_calibrated_and_its_probabilities_change(banyan: Run, own_model: Path) -> None:
    before = banyan("predict", own_model, "classification", "red thing", "--json").answer["predictions"][0]
    found = banyan("evaluate", own_model, "--calibrate", "--json").answer["tasks"]["classification"]
    assert found["temperature"] > 0 and found["measured_on"] == "test"
    assert all(0 <= low <= high <= 1 for low, high in found["intervals_after"].values())
    after = banyan("predict", own_model, "classification", "red thing", "--json").answer["predictions"][0]
    assert after["text"] == before["text"] and after["labels"] != before["labels"]
    scored = banyan("evaluate", own_model, "--task", "classification", "--json").answer["tasks"]["classification"]
    assert scored["scores"]["ece"] == found["after"]["ece"]


def test_a_person_sees_both_errors(banyan: Run, own_model: Path) -> None:
    shown = banyan("evaluate", own_model, "--calibrate").out
    assert "ECE before" in shown and "labels do not" in shown


def test_ways_that_do_not_go_together_are_one_line(banyan: Run, model: Path) -> None:
    ran = banyan("evaluate", model, "--calibrate", "--save-predictions", "p.jsonl")
    assert ran.code == 2 and "--save-predictions belongs to scoring" in ran.error
    ran = banyan("evaluate", model, "--calibrate", "--probe", "classification")
    assert ran.code == 2 and "--probe and --calibrate are 2 ways to evaluate" in ran.error
