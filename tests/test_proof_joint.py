"""The proof of joint training: its settings fit the recipe, its runs are done once, its page says what is missing."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from banyan.core.config import config_to_mapping
from banyan.core.files import atomic_write_json
from banyan.workflows.kept_scores import TaskScore
from banyan.workflows.recipe import read_recipe
from banyan.workflows.reporter import SilentReporter
from proofs.joint.page import ablation_lines, quality_lines, twin_lines
from proofs.joint.proof import Proof, Sizes
from proofs.joint.runs import RunResult, Runs, keyed, question_of, with_length
from proofs.joint.settings import ABLATIONS, CLASSIFIERS, COMPARED_BY, GOALS, GOALS_BESIDE, LONG, SHORT, Form

ROOT = Path(__file__).resolve().parents[1]
RECIPE = ROOT / "recipes/joint.yaml"
PAGE = ROOT / "docs/joint.md"


def test_every_setting_is_the_recipe_with_one_thing_changed() -> None:
    assert len(ABLATIONS) == 12 and not ABLATIONS[0].changes
    plain = read_recipe(RECIPE)
    resolved = [read_recipe(RECIPE, overrides=setting.changes) for setting in ABLATIONS]
    assert resolved[0] == plain and len({recipe.fingerprint for recipe in resolved}) == len(ABLATIONS)
    (equal,) = (recipe for recipe in resolved if recipe.mixture.method == "equal")
    assert all(task.rate is None for task in equal.tasks) and not equal.mixture.rates


def test_a_form_gives_every_task_a_share() -> None:
    for form in (SHORT, LONG):
        recipe = read_recipe(RECIPE, overrides=form.changes)
        assert recipe.mixture.rates.keys() == {task.name for task in recipe.tasks}


def test_goals_and_groups_name_tasks_of_the_recipe() -> None:
    kinds = {task.name: task.kind for task in read_recipe(RECIPE).tasks}
    assert {goal.task for goal in (*GOALS, *GOALS_BESIDE)} | COMPARED_BY.keys() <= kinds.keys()
    assert set(CLASSIFIERS) == {name for name, kind in kinds.items() if kind == "classification"}


def test_what_has_not_been_run_is_said() -> None:
    told = "\n".join(
        [*quality_lines(lambda _: None), *twin_lines(None), *ablation_lines(lambda _: None, ABLATIONS, [0])]
    )
    assert told.count("Not run yet") == 3 and told.count("not run |") == 2 * len((*GOALS, *GOALS_BESIDE)) + len(
        ABLATIONS
    )
    page = PAGE.read_text("utf-8")
    for part in ("quality", "twins", "remedies", "ablations"):
        assert page.index(f"<!-- {part}: written by make proof-joint -->") < page.index(f"<!-- {part}: end -->")


@pytest.mark.parametrize(("score", "verdict"), [(0.21, "21.0 of 20.0: must met"), (0.19, "19.0 of 20.0: must **mi")])
def test_a_score_beside_a_simple_system_is_judged_in_the_long_form(score: float, verdict: str) -> None:
    found = TaskScore(metric="f1", score=score, unit=score, num_examples=9, samples=(score, score), scores={})
    run = RunResult(
        question="",
        tasks={"cmrc": found},
        steps=2,
        num_parameters=9,
        seconds=60,
        calibration={},
        baselines={"cmrc": {"best fixed span": 0.1}},
    )
    told = "\n".join(quality_lines({"long-0": run, "short-0": run}.get))
    assert f"| cmrc | f1 | 2 × best fixed span | | {100 * score:.1f} | {verdict}" in told


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tasks of the recipe's names, tiny."""
    folder = tmp_path_factory.mktemp("recipe")
    rows = [{"text": f"{n} {'ab'[n % 2] * 3}", "label": "xy"[n % 2]} for n in range(16)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = dict.fromkeys(("train", "validation", "test"), str(folder / "rows.jsonl"))
    sizes = {"num_layers": 1, "num_heads": 2, "num_kv_heads": 1, "embed_dim": 16, "head_dim": 8, "ffn_dim": 32}
    mapping = {
        "name": "two",
        "model": sizes,
        "tokenizer": {"vocab_size": 300},
        "train": {"seq_len": 32, "micro_batch_seqs": 2},
        "evaluation": {"num_validations": 1},
        "tasks": [{"name": name, "kind": "classification", "data": data} for name in ("ag_news", "sst2")],
    }
    (folder / "two.yaml").write_text(yaml.safe_dump(mapping))
    return folder / "two.yaml"


def _proof(
    recipe: Path, folder: Path, *changes: str, of_form: tuple[str, ...] = (), record: Path | None = None
) -> Proof:
    forms = (Form(name="short", minutes=1, seeds=(0,), changes=of_form), replace(LONG, changes=()))
    settings = (ABLATIONS[0], next(one for one in ABLATIONS if one.name == "uncertainty"))
    sizes = Sizes(forms=forms, settings=settings, seeds=(0,), steps=2)
    return Proof(recipe, folder, changes=changes, sizes=sizes, reporter=SilentReporter(), record=record)


def test_the_runs_are_done_once_and_written_into_the_page(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("banyan.workflows.joint_vs_single.SEARCHED_RATES", (1.0,))
    page = tmp_path / "docs/joint.md"
    (page.parent / "images").mkdir(parents=True)
    page.write_text(PAGE.read_text("utf-8"), "utf-8")
    record = tmp_path / "docs/proofs/joint.json"
    proof = _proof(recipe, tmp_path / "runs", record=record)
    proof.do(["short"], seconds=-1)
    assert "0 of 1 runs" in "\n".join(proof.lines("short"))
    proof.do(["short", "twins", "remedies", "ablations"], seconds=1000)
    proof.write_page(page)
    monkeypatch.setattr("proofs.joint.runs.train", None)  # nothing is left to be done
    again = _proof(recipe, tmp_path / "runs")
    again.do(["short", "twins", "remedies", "ablations"], seconds=1000)
    written = page.read_text("utf-8")
    for part in ("twins", "ablations"):
        assert again.lines(part) == proof.lines(part) and "\n".join(again.lines(part)) in written
    assert "1 of 1 runs done: 2 steps" in written and "0 of 1 runs" in written  # the long form is missing
    assert "| ag_news | accuracy | 16 | **" in written and "naive Bayes" in written
    assert all((page.parent / f"images/joint-{name}.png").is_file() for name in ("quality", "ablations", "vs-single"))
    elsewhere = _proof(recipe, tmp_path / "elsewhere", record=record)
    elsewhere.do(["short", "ablations", "remedies"], seconds=1000)  # all of it is recorded, and no model is there
    told, here = ("\n".join([*one.lines("short"), *one.lines("ablations")]) for one in (elsewhere, proof))
    assert _without_intervals(told) == _without_intervals(here)


def _without_intervals(told: str) -> str:
    """Drop the ends of intervals, for which the record keeps fewer resampled scores."""
    return re.sub(r"[-+]?[0-9.]+ – [-+]?[0-9.]+", "", told)


class Heard(SilentReporter):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


def test_what_another_recipe_or_scoring_made_does_not_count_and_is_said_once(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = with_length(read_recipe(recipe), minutes=1, steps=2, seed=0)
    kept = RunResult(
        question=question_of(asked), tasks={}, steps=2, num_parameters=9, seconds=60, calibration={}, baselines={}
    )
    place = tmp_path / f"{keyed('short-0', asked)}.json"
    atomic_write_json(place, config_to_mapping(kept))
    heard = Heard()
    runs = Runs(tmp_path, reporter=heard)
    changed = read_recipe(recipe, overrides=["optimizer.learning_rate=0.5"])
    assert runs.result("short-0", asked) == kept and not heard.lines
    assert runs.result("short-0", changed) is runs.result("short-0", changed) is None
    assert heard.lines == [f"short-0: what another recipe made does not count ({place.name})"]
    assert runs.directory("short-0", changed) != runs.directory("short-0", asked)
    assert "1 of 1 runs" in "\n".join(_proof(recipe, tmp_path).lines("short"))
    assert "0 of 1 runs" in "\n".join(_proof(recipe, tmp_path, "optimizer.learning_rate=0.5").lines("short"))
    told = "\n".join(_proof(recipe, tmp_path, of_form=("tasks.sst2.rate=0.3",)).lines("short"))
    assert "0 of 1 runs" in told and "The recipe with `tasks.sst2.rate=0.3`." in told
    monkeypatch.setattr("proofs.joint.runs._MAX_TEST", 50)
    assert Runs(tmp_path, reporter=Heard()).result("short-0", asked) is None


def test_the_forms_are_those_that_were_promised() -> None:
    assert (SHORT.minutes, len(SHORT.seeds), LONG.minutes, len(LONG.seeds)) == (90, 3, 480, 1)
