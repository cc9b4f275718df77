import dataclasses
import json
from pathlib import Path

import pytest
import torch

from banyan.core.types import Image
from banyan.tokenizers.pictures import image_from_bytes
from banyan.workflows import samples as samples_module
from banyan.workflows.live_model import LiveEvaluator
from banyan.workflows.samples import Sample, SampleBook, samples_as_markdown
from banyan.workflows.settling import new_model
from banyan.workflows.training import TrainingOutcome

PICTURE = Image(width=2, height=1, channels=1, pixels=bytes((0, 255)))
WORDS = Sample(task="area", prompt="red # thing", answer="warm\n# no heading", reference="warm")
DRAWN = Sample(task="draw it", prompt="picture 2", answer="", image=PICTURE)


def test_every_evaluation_of_a_run_leaves_a_sample_of_each_task(tiny_run: TrainingOutcome) -> None:
    folder = tiny_run.run_directory / "samples"
    assert sorted(path.name for path in folder.glob("*.md")) == ["step-00000003.md", "step-00000006.md"]
    page = (folder / "step-00000006.md").read_text(encoding="utf-8")
    assert [line[3:] for line in page.splitlines() if line.startswith("## ")] == [
        task.name for task in tiny_run.material.tasks
    ]
    assert "(<step-00000006-image_generation.png>)" in page
    assert image_from_bytes((folder / "step-00000006-image_generation.png").read_bytes()).width % 4 == 0


def test_samples_change_no_score_and_no_random_number(tiny_run: TrainingOutcome) -> None:
    model = new_model(tiny_run.recipe, tiny_run.material).eval()
    heard: list[tuple[int, int]] = []
    plain = LiveEvaluator(tiny_run.material, max_examples=2)(model, 1)
    before = torch.get_rng_state()
    sampled = LiveEvaluator(
        tiny_run.material, max_examples=2, hear_samples=lambda step, samples: heard.append((step, len(samples)))
    )(model, 7)
    assert json.dumps(plain) == json.dumps(sampled)
    assert heard == [(7, len(tiny_run.material.tasks))]
    assert torch.equal(before, torch.get_rng_state())


def test_nothing_a_model_writes_is_markup() -> None:
    page = samples_as_markdown([WORDS], step=3, pictures={})
    assert [line for line in page.splitlines() if line.startswith("#")] == ["# Samples after step 3", "## area"]
    assert "    warm\n    # no heading\n" in page and "Right:" in page


def test_long_texts_are_cut_and_empty_ones_said() -> None:
    page = samples_as_markdown([dataclasses.replace(WORDS, prompt="榕" * 1000, answer="")], step=3, pictures={})
    assert max(map(len, page.splitlines())) == 4 + 600 and "…" in page
    assert "    (nothing)" in page


def test_samples_are_told_in_turn_on_one_line(tmp_path: Path) -> None:
    told: list[str] = []
    book = SampleBook(tmp_path, tell=told.append)
    for step in (1, 2, 3):
        book(step, [WORDS, DRAWN])
    book(4, [])
    assert told == [
        "area: red # thing → warm # no heading",
        "draw it: picture 2 → a picture of 2 × 1",
        "area: red # thing → warm # no heading",
    ]
    assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == [
        name for step in (1, 2, 3) for name in (f"step-{step:08d}-draw it.png", f"step-{step:08d}.md")
    ]


def test_a_full_disk_does_not_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, text: str) -> None:
        raise samples_module.SpaceError("the disk is full.")

    monkeypatch.setattr(samples_module, "atomic_write_text", full)
    told: list[str] = []
    SampleBook(tmp_path, tell=told.append)(1, [WORDS])
    assert len(told) == 1
