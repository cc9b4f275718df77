"""What `banyan evaluate` prints of the scores."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from banyan import __version__
from banyan.core.model_directory import write_manifest

Run = Callable[..., Any]


def test_scores_are_signed_by_their_scorers(banyan: Run, model: Path) -> None:
    answer = banyan("evaluate", model, "--task", "tagging", "--max-examples", 3, "--json").answer
    assert answer["banyan"] == __version__
    assert "version:" in answer["tasks"]["tagging"]["signatures"]["f1"]


def test_simple_systems_stand_beside_every_task_with_what_they_learned_from(banyan: Run, model: Path) -> None:
    words = ("--task", "tagging", "--task", "translation", "--max-examples", 3, "--json")
    tasks = banyan("evaluate", model, *words, "--baselines", "all", "--baseline-examples", 50).answer["tasks"]
    assert [own["name"] for own in tasks["tagging"]["baselines"]][0] == "most frequent tag"
    assert [own["name"] for own in tasks["translation"]["baselines"]] == ["copy", "word for word"]
    for task in tasks.values():
        for own in task["baselines"]:
            assert own["num_train_examples"] == 50 < own["num_train_available"]
            assert own["intervals"].keys() == own["scores"].keys() == task["scores"].keys()
            low, high = own["model_better_by_interval"]
            assert low <= own["model_better_by"] <= high
    none = banyan("evaluate", model, *words, "--baselines", "none").answer["tasks"]
    assert not any(task["baselines"] for task in none.values())


def test_a_person_reads_how_many_examples_the_simple_systems_learned_from(banyan: Run, model: Path) -> None:
    ran = banyan("evaluate", model, "--task", "summarization", "--max-examples", 3, "--baseline-examples", 50)
    assert "function name" in ran.out and "50 of " in ran.out and "rouge1: rouge-score|stemmer:porter" in ran.out
    assert banyan("evaluate", model, "--baselines", "some").code == 2


def test_a_model_without_training_data_stands_alone(banyan: Run, own_model: Path, tiny_files: dict[str, Path]) -> None:
    (own_model / "recipe.yaml").unlink()
    (own_model / "manifest.json").unlink()
    write_manifest(own_model)
    ran = banyan("evaluate", own_model, "--data", f"tagging={tiny_files['tagging']}", "--max-examples", 3)
    assert ran.code == 0 and "model better by" not in ran.out
    assert "stands beside no simple system" in ran.err
