"""A run begins with a named parent, and goes on without it."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from banyan.core.errors import BanyanError, CheckpointError, ConfigError, DataError, FileError
from banyan.core.files import sha256_of
from banyan.core.types import MaskKind
from banyan.runtime.description import read_description
from banyan.runtime.loading import load
from banyan.testing.foreign_models import save_tiny_foreign_model
from banyan.testing.transfer_runs import TransferRuns, weights_of
from banyan.train.callbacks import Callback, StepRecord
from banyan.transfer.vocabulary import GrowConfig
from banyan.workflows.growing import grow_directory
from banyan.workflows.parent import find_parent
from banyan.workflows.preparing import prepare
from banyan.workflows.reporter import SilentReporter
from banyan.workflows.resuming import settle_recipe


class StopAt(Callback):
    """Interrupts a run after a step, as a power cut would."""

    def __init__(self, step: int) -> None:
        self._step = step

    def on_step(self, record: StepRecord) -> None:
        if record.step == self._step:
            raise RuntimeError("stopped")


@pytest.fixture
def runs(transfer_runs: TransferRuns, tmp_path: Path) -> TransferRuns:
    """The same parent and rows in a folder of this test's own."""
    shutil.copytree(transfer_runs.folder / "parent", tmp_path / "parent", symlinks=True)
    return TransferRuns(tmp_path)


def test_a_run_means_its_best_checkpoint(runs: TransferRuns) -> None:
    assert find_parent(runs.folder / "parent") == runs.folder / "parent/best"
    checkpoint = (runs.folder / "parent/last").resolve()
    assert find_parent(checkpoint) == checkpoint


def test_a_parent_that_is_not_there_is_named(runs: TransferRuns) -> None:
    with pytest.raises(FileError, match="transfer.parent=.*nowhere is not there"):
        runs.run("child", [runs.task("trip")], transfer={"parent": str(runs.folder / "nowhere")})
    assert not (runs.folder / "child/checkpoints").exists()


def test_a_child_says_whose_it_is_and_answers_old_and_new_tasks(runs: TransferRuns) -> None:
    outcome = runs.run("child", [runs.task("trip")], transfer={"parent": str(runs.folder / "parent")})
    manifest = sha256_of(runs.folder / "parent/best/manifest.json")
    description = read_description(outcome.result.last_checkpoint)
    assert (description.parent, description.parent_sha256) == ("parent", manifest)
    assert outcome.recipe.transfer.parent_sha256 == manifest
    with load(outcome.result.last_checkpoint) as model:
        assert model.predict("film", ["good film 3"])[0].text in ("pos", "neg")
        assert model.predict("trip", ["oak trip 3"])[0].text in ("land", "water")


@pytest.mark.parametrize(
    "transfer",
    [
        {
            "layer_decay": 0.5,
            "unfreeze_every": 2,
            "replay": {"share": 0.25, "generated": 4, "max_new_tokens": 8},
            "grow_vocabulary": {"words": ["banyan", "forest"]},
        },
        {"mode": "head", "last_blocks": 1, "cache": "bfloat16"},
    ],
    ids=["full", "head"],
)
def test_a_resumed_child_is_bitwise_the_same_and_needs_no_parent(runs: TransferRuns, transfer: dict[str, Any]) -> None:
    asked = {"parent": str(runs.folder / "parent"), **transfer}
    train = {"steps": 6, "checkpoint_every": 2, "evaluate_every": 3}
    whole = runs.run("whole", [runs.task("trip")], transfer=asked, train=train)
    with pytest.raises(RuntimeError, match="stopped"):
        runs.run("cut", [runs.task("trip")], transfer=asked, train=train, callbacks=[StopAt(5)])
    shutil.rmtree(runs.folder / "parent")
    shutil.rmtree(runs.folder / "cut/features", ignore_errors=True)
    again = runs.run("cut", [runs.task("trip")], transfer=asked, train=train, resume=True)
    assert weights_of(again.result.last_checkpoint) == weights_of(whole.result.last_checkpoint)
    description = read_description(again.result.last_checkpoint)
    assert description.parent_sha256 == whole.recipe.transfer.parent_sha256


def test_a_parent_that_has_changed_since_the_recipe_was_resolved_is_refused(runs: TransferRuns) -> None:
    recipe = runs.recipe("child", [runs.task("trip")], transfer={"parent": str(runs.folder / "parent")})
    settled = settle_recipe(recipe, runs.folder / "child", resume=False)
    assert settle_recipe(settled, runs.folder / "other", resume=False) == settled
    other = dataclasses.replace(settled.transfer, parent_sha256="0" * 64)
    with pytest.raises(CheckpointError, match="is not the model this recipe was written for"):
        settle_recipe(dataclasses.replace(settled, transfer=other), runs.folder / "other", resume=False)


def test_a_drawing_task_needs_a_parent_that_draws(runs: TransferRuns) -> None:
    picture = {"name": "draw", "kind": "image_generation", "data": {"train": str(runs.folder / "pictures.jsonl")}}
    image = {"width": 2, "height": 2, "channels": 1, "pixels": [0, 255, 255, 0]}
    (runs.folder / "pictures.jsonl").write_text(json.dumps({"text": "a dot", "image": image, "label": "1"}) + "\n")
    with pytest.raises(BanyanError, match="task draw has pictures, and the parent parent has no image codes"):
        runs.run("child", [picture], transfer={"parent": str(runs.folder / "parent")})


@pytest.mark.parametrize("family", ["qwen2.5", "llama3", "gpt2"])
def test_a_child_of_an_imported_model_reads_and_talks_as_its_parent(transfer_runs: TransferRuns, family: str) -> None:
    parent = save_tiny_foreign_model(family, transfer_runs.folder / f"foreign {family}")
    tasks = [transfer_runs.task("trip"), transfer_runs.task("text", "language_modeling")]
    transfer = {"parent": str(parent), "replay": {"share": 0.2, "generated": 3, "max_new_tokens": 4}}
    steps = {"steps": 2, "evaluate_every": 2, "seq_len": 320}
    name = f"child-of-{family.replace('.', '')}"
    outcome = transfer_runs.run(name, tasks, transfer=transfer, train=steps)
    child = outcome.result.last_checkpoint
    assert (child / "tokenizer.json").read_bytes() == (parent / "tokenizer.json").read_bytes()
    assert read_description(child).chat == read_description(parent).chat
    assert outcome.material.tasks[0].reading is MaskKind.CAUSAL  # it has never read in another way
    with load(child) as model:
        assert model.predict("trip", ["oak trip 3"])[0].text in ("land", "water")


@pytest.mark.parametrize("family", ["gpt2", "llama2"])
def test_shards_go_with_an_imported_parent_whose_tokenizer_cut_them(
    runs: TransferRuns, tmp_path: Path, family: str
) -> None:
    (tmp_path / "notes.txt").write_text("the cat sat on the mat, and the dog on the cat\n" * 40)
    foreign = save_tiny_foreign_model(family, tmp_path / "foreign")
    for name, tokenizer in (("own", foreign), ("other", runs.folder / "parent/best")):
        prepare(
            [tmp_path / "notes.txt"], tmp_path / name, tokenizer=tokenizer, vocab_size=300, reporter=SilentReporter()
        )
    tasks = [
        [{"name": "lm", "kind": "language_modeling", "data": {"train": str(tmp_path / n)}}] for n in ("own", "other")
    ]
    transfer = {"parent": str(foreign), "mode": "continue"}
    assert runs.run("child", tasks[0], transfer=transfer, train={"steps": 1}).result.last_checkpoint.is_dir()
    with pytest.raises(DataError, match="other were not cut by the tokenizer of the parent foreign") as caught:
        runs.run("stray", tasks[1], transfer=transfer, train={"steps": 1})
    assert caught.value.hint is not None and caught.value.hint.endswith(f"--tokenizer {foreign}")


def test_a_task_goes_on_as_its_grown_parent_reads_it(runs: TransferRuns, tmp_path: Path) -> None:
    grow_directory(runs.folder / "parent/best", tmp_path / "grown", GrowConfig(words=("banyan",)))
    transfer = {"parent": str(tmp_path / "grown")}
    tasks = [runs.task("film"), runs.task("trip")]
    again = runs.run("again", tasks, transfer=transfer, train={"steps": 1}).material.tasks
    assert [task.reading for task in again] == [MaskKind.PREFIX, MaskKind.PREFIX]


def test_other_sizes_are_refused_before_the_parent_writes_a_text(runs: TransferRuns) -> None:
    replay = {"share": 0.2, "generated": 3, "max_new_tokens": 4}
    transfer = {"parent": str(runs.folder / "parent"), "replay": replay}
    with pytest.raises(ConfigError, match="model.num_layers=4 is not what the parent has"):
        runs.run("child", [runs.task("trip")], transfer=transfer, model={"num_layers": 4})
    assert not list((runs.folder / "child").rglob("*.jsonl"))


def test_what_is_cleaned_for_training_is_cleaned_for_an_answer_and_by_the_child(runs: TransferRuns) -> None:
    steps = {"normalise": "nfkc", "stem": "english"}
    tasks = [runs.task("film", preprocess=steps)]
    parent = runs.run("cleaned", tasks, model={"num_layers": 1}, train={"steps": 1})
    text = "Good Films ﬁrst"
    task = parent.material.tasks[0]
    learned = task.prompt(task.example_from_text(text), parent.material.vocabulary, max_tokens=32)
    plain = {"parent": str(parent.run_directory), "replay": {"data": {"film": str(runs.rows("film"))}}}
    child = runs.run("cleaned-child", [runs.task("trip")], transfer=plain, train={"steps": 1})
    for run in (parent.run_directory, child.run_directory):
        with load(run / "best") as model:
            asked = model.prompt("film", model.task("film").example_from_text(text))
            assert model.vocabulary.decode(asked.token_ids).endswith("good film first")
            assert asked.token_ids[2:] == learned.token_ids[2:]  # behind the start and the task's own token
