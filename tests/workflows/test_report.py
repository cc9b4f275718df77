import dataclasses
import io
import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from PIL import Image

from banyan.runtime.loaded_model import LoadedModel
from banyan.workflows.comparing import add_baselines
from banyan.workflows.live_model import judges_of
from banyan.workflows.report import Report, make_report, report_as_json, report_as_markdown, write_report
from banyan.workflows.reporter import SilentReporter
from banyan.workflows.scoring import TaskResult, evaluate_model
from banyan.workflows.training import TrainingOutcome

TASKS = ("classification", "language_modeling", "translation", "image_generation")


@pytest.fixture(scope="module")
def results(loaded: LoadedModel, tiny_run: TrainingOutcome) -> Mapping[str, TaskResult]:
    """Four tasks, scored on few examples."""
    material = tiny_run.material
    judges = judges_of(material)
    examples = {name: material.test[name][:3] for name in TASKS}
    scored = evaluate_model(loaded, examples, judges=judges, reporter=SilentReporter(), num_samples=5)
    return add_baselines(
        scored,
        material.train,
        judges=judges,
        image_tokenizer=material.image_tokenizer,
        reporter=SilentReporter(),
        num_samples=5,
    )


@pytest.fixture
def report(results: Mapping[str, TaskResult], tiny_run: TrainingOutcome, tmp_path: Path) -> Report:
    """A report of the tiny run that is written elsewhere."""
    elsewhere = dataclasses.replace(tiny_run, run_directory=tmp_path)
    return make_report(elsewhere, results, stage_seconds={"data": 1.25, "training": 60.0}, notes=("A note.",))


def test_the_table_sets_every_model_beside_its_baselines(report: Report) -> None:
    text = report_as_markdown(report, sheets={})
    for name in TASKS:
        (line,) = [line for line in text.splitlines() if line.startswith(f"| {name} |")]
        assert line.count("|") == 7
        result = report.results[name]
        assert f"**{result.evaluation.score:.3f}** [" in line
        assert all(f"{b.name} {b.evaluation.score:.3f}" in line for b in result.baselines)
    assert "| language_modeling | bits_per_byte ↓ |" in text
    assert "A note." in text and "| data | 1 |" in text and "| all | 61 |" in text


def test_texts_cannot_break_the_tables(report: Report) -> None:
    result = report.results["classification"]
    wild = dataclasses.replace(result.evaluation.predictions[0], text="a | b\n`c` " + "x" * 500)
    evaluation = dataclasses.replace(result.evaluation, predictions=(wild, *result.evaluation.predictions[1:]))
    changed = {**report.results, "classification": dataclasses.replace(result, evaluation=evaluation)}
    text = report_as_markdown(dataclasses.replace(report, results=changed), sheets={})
    (line,) = [line for line in text.splitlines() if "a ¦ b ˋcˋ" in line]
    assert line.count("|") == 5 and "…" in line


def test_what_is_written_can_be_read_by_people_and_programs(report: Report, tmp_path: Path) -> None:
    path = write_report(report)
    assert path == tmp_path / "report.md"
    saved = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert saved == json.loads(json.dumps(report_as_json(report)))
    assert list(saved["tasks"]) == list(TASKS)
    assert saved["total_seconds"] == 61.2 or saved["total_seconds"] == 61.3
    assert saved["tasks_above_trivial"] == sum(t["beats_trivial"] is True for t in saved["tasks"].values())
    assert saved["peak_memory_bytes"] > 50_000_000
    for link in re.findall(r"\]\((samples/[^)]*)\)", path.read_text("utf-8")):
        with Image.open(io.BytesIO((tmp_path / link).read_bytes())) as sheet:
            assert sheet.width > 3 * 4


def test_pictures_are_shown_on_a_sheet_and_not_as_text(report: Report) -> None:
    text = report_as_markdown(report, sheets={"image_generation": "samples/image_generation.png"})
    assert "![image_generation](samples/image_generation.png)" in text
    assert "### classification" in text and "### image_generation" not in text


def test_a_report_of_nothing_is_still_a_report(tiny_run: TrainingOutcome) -> None:
    text = report_as_markdown(make_report(tiny_run, {}, stage_seconds={}), sheets={})
    assert text.startswith("# tiny\n")
