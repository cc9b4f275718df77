"""A run that teaches an adapter: small checkpoints, a trunk that stays, and bitwise the same after an interrupt."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from banyan.core.errors import CheckpointError, ConfigError
from banyan.core.model_directory import verify_manifest
from banyan.runtime.loading import load
from banyan.testing.faults import AfterStep
from banyan.testing.transfer_runs import TransferRuns, losses_of
from banyan.workflows.training import TrainingOutcome

LORA = {"rank": 2, "dropout": 0.1, "name": "trips"}


def learn(
    runs: TransferRuns, name: str, *, resume: bool = False, callbacks: Any = (), **changes: Any
) -> TrainingOutcome:
    """Teach an adapter of the parent a task of its own."""
    transfer = {"parent": str(runs.folder / "parent"), "lora": LORA, **changes.pop("transfer", {})}
    tasks = changes.pop("tasks", [runs.task("trip")])
    optimizer = {"name": "adamw", "learning_rate": 0.01}
    return runs.run(name, tasks, resume=resume, callbacks=callbacks, transfer=transfer, optimizer=optimizer, **changes)


@pytest.fixture(scope="module")
def run(transfer_runs: TransferRuns) -> Path:
    return learn(transfer_runs, "trips").run_directory


def contents(checkpoint: Path) -> dict[str, bytes]:
    """Return all files of a checkpoint but those that tell of time."""
    own = {path.name: path.read_bytes() for path in checkpoint.iterdir()}
    return {name: data for name, data in own.items() if name.endswith(".safetensors") or name == "adapter_config.json"}


def test_a_checkpoint_holds_the_adapter_and_the_heads_and_no_trunk(transfer_runs: TransferRuns, run: Path) -> None:
    files = verify_manifest(run / "best")
    assert set(files) == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "banyan.json",
        "extras.safetensors",
        "model.json",
        "optimizer.safetensors",
        "recipe.yaml",
        "state.json",
    }
    trunk = (transfer_runs.folder / "parent/best/model.safetensors").stat().st_size
    assert files["adapter_model.safetensors"]["bytes"] < trunk
    origin = json.loads((run / "best/banyan.json").read_text())["adapter"]
    assert origin["name"] == "trips" and len(origin["base_sha256"]) == 64
    assert (run / "best").resolve().joinpath(origin["base_from_here"]).resolve() == Path(origin["base"])


def test_the_run_answers_its_own_task_and_the_parents(transfer_runs: TransferRuns, run: Path) -> None:
    with load(run / "best", device="cpu") as model, load(transfer_runs.folder / "parent/best", device="cpu") as parent:
        assert list(model.tasks) == ["text", "film", "trip"] and model.adapter == "trips"
        assert model.predict("trip", "sea trip 3")[0].text in ("water", "land")
        view = parent.load_adapter("mine", run / "best")
        expected = model.predict("trip", "sea trip 3")[0].labels
        assert view.predict("trip", "sea trip 3")[0].labels == pytest.approx(expected, abs=1e-6)
        for name, weight in parent.model.named_parameters():
            if "adapters" not in name.split("."):
                assert torch.equal(weight, model.model.get_parameter(name)), name


def test_an_interrupted_run_ends_with_the_same_bits(transfer_runs: TransferRuns, run: Path) -> None:
    stop = AfterStep(2, lambda: signal.raise_signal(signal.SIGTERM))
    first = learn(transfer_runs, "stopped", callbacks=[stop])
    assert first.result.stopped_by == "interrupt" and first.result.steps == 2
    last = learn(transfer_runs, "stopped", resume=True).result
    assert last.steps == 4
    assert contents(transfer_runs.folder / "stopped/last") == contents(run / "last")
    assert losses_of(transfer_runs.folder / "stopped") == losses_of(run)


def test_a_run_does_not_go_on_beside_another_parent(transfer_runs: TransferRuns, tmp_path: Path) -> None:
    stop = AfterStep(2, lambda: signal.raise_signal(signal.SIGTERM))
    shutil.copytree(transfer_runs.folder / "parent", tmp_path / "parent", symlinks=True)
    changed = {"transfer": {"parent": str(tmp_path / "parent")}}
    learn(transfer_runs, "orphan", callbacks=[stop], **changed)
    best = (tmp_path / "parent/best").resolve()
    other = learn(transfer_runs, "other").run_directory  # any other folder with a manifest will do
    (best / "manifest.json").write_bytes((other / "best/manifest.json").read_bytes())
    with pytest.raises(CheckpointError):
        learn(transfer_runs, "orphan", resume=True, **changed)


def test_in_mode_head_an_adapter_lies_in_the_last_blocks_alone(transfer_runs: TransferRuns) -> None:
    outcome = learn(transfer_runs, "last-block", transfer={"mode": "head", "last_blocks": 1})
    with load(outcome.run_directory / "best", device="cpu") as model:
        adapted = {name.split(".")[1] for name, _ in model.model.named_parameters() if ".adapters.lora_trips" in name}
        assert adapted == {"1"}
        assert model.predict("trip", "sea trip 3")
    config = json.loads((outcome.run_directory / "best/adapter_config.json").read_text())
    assert config["layers_to_transform"] == [1]


def test_mode_continue_teaches_an_adapter_from_raw_text(transfer_runs: TransferRuns) -> None:
    text = transfer_runs.task("text", "language_modeling")
    outcome = learn(transfer_runs, "prose", tasks=[text], transfer={"mode": "continue"})
    with load(outcome.run_directory / "best", device="cpu") as model:
        assert model.generate("the cat", max_tokens=4, temperature=0) is not None


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"transfer": {"mode": "head"}}, "nothing to lie beside"),
        ({"transfer": {"lora": {**LORA, "targets": ["gates"]}}}, "did you mean gate"),
        ({"transfer": {"lora": {**LORA, "rnk": 3}}}, "unknown key"),
        ({"model": {"max_seq_len": 512}}, "transfer.lora needs the parent as it is"),
    ],
)
def test_what_does_not_go_together_is_refused(transfer_runs: TransferRuns, keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        learn(transfer_runs, "refused", **keys)


def test_an_adapter_is_no_parent(transfer_runs: TransferRuns, run: Path) -> None:
    with pytest.raises(CheckpointError, match="is an adapter, and a run begins with a whole model") as caught:
        learn(transfer_runs, "grandchild", transfer={"parent": str(run / "best")})
    assert caught.value.hint is not None and "merge it" in caught.value.hint
