import json
from pathlib import Path

import pytest
import torch

from banyan.core.errors import CheckpointError
from banyan.model.lora import LoraConfig, add_adapters
from banyan.testing.models import tiny_model
from banyan.testing.training import tiny_learner, tiny_loader
from banyan.train.optimizer import ModelOptimizer, OptimizerConfig, build_optimizer
from banyan.train.state import Progress, TransformerFiles, frozen_copy, restore_state, save_state

PROGRESS = Progress(step=7, seconds=1.5, num_tokens=99, best_step=5, best_score=0.1 + 0.2, skipped_steps=[3])


def saved(directory: Path) -> ModelOptimizer:
    model = tiny_learner()
    optimizer = build_optimizer(model, OptimizerConfig())
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    save_state(
        directory,
        model=model,
        weight_files=TransformerFiles(),
        optimizer_tensors=optimizer.tensors(),
        progress=PROGRESS,
        loader_state=tiny_loader().state(),
        settings={"seed": 1},
        sidecars={"banyan.json": b"{}"},
    )
    return optimizer


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    optimizer = saved(tmp_path)
    model = tiny_learner()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    restored_optimizer = build_optimizer(model, OptimizerConfig())
    restored = restore_state(tmp_path, model=model, weight_files=TransformerFiles(), optimizer=restored_optimizer)
    assert restored.progress == PROGRESS
    assert restored.settings == {"seed": 1}
    assert restored.loader_state == tiny_loader().state()
    before, after = optimizer.tensors(), restored_optimizer.tensors()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert (tmp_path / "banyan.json").read_bytes() == b"{}"


def test_a_checkpoint_holds_no_pickle(tmp_path: Path) -> None:
    saved(tmp_path)
    for path in tmp_path.iterdir():
        assert path.suffix in (".json", ".safetensors")
        content = path.read_bytes()
        assert content[:1] in (b"{", b"[") if path.suffix == ".json" else content[8:9] == b"{"  # a safetensors header


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{}", "'version' is missing"),
        (json.dumps({"version": 99}), "version 99 was written, this Banyan reads version 1"),
        ("{", "not valid JSON"),
        ("[]", "cannot be resumed"),
        (json.dumps({"version": 1, "loader": {}}), "'settings' is missing"),
        (json.dumps({"version": 1, "loader": [], "settings": {}}), "out of range"),
        (json.dumps({"version": 1, "step": -1, "loader": {}, "settings": {}}), "out of range"),
        (json.dumps({"version": 1, "step": "many", "loader": {}, "settings": {}}), "step"),
    ],
)
def test_a_state_that_cannot_be_gone_on_from_is_refused(tmp_path: Path, content: str, problem: str) -> None:
    saved(tmp_path)
    (tmp_path / "state.json").write_text(content)
    model = tiny_learner()
    optimizer = build_optimizer(model, OptimizerConfig())
    with pytest.raises(CheckpointError, match=problem):
        restore_state(tmp_path, model=model, weight_files=TransformerFiles(), optimizer=optimizer)


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"nothing of use")])
def test_an_optimizer_file_that_cannot_be_read_is_refused(tmp_path: Path, damage: object) -> None:
    saved(tmp_path)
    damage(tmp_path / "optimizer.safetensors")  # type: ignore[operator]
    model = tiny_learner()
    optimizer = build_optimizer(model, OptimizerConfig())
    with pytest.raises(CheckpointError, match=r"optimizer\.safetensors cannot be read"):
        restore_state(tmp_path, model=model, weight_files=TransformerFiles(), optimizer=optimizer)


def test_a_frozen_copy_shares_what_lies_below_an_adapter_and_nothing_else() -> None:
    model = tiny_model()
    add_adapters(model, LoraConfig(), generator=torch.Generator().manual_seed(0))
    copied = dict(frozen_copy(model).named_parameters())
    shared = {name for name, parameter in model.named_parameters() if parameter is copied[name]}
    assert shared == {name for name in copied if ".adapters." not in name}


def test_a_frozen_copy_holds_the_same_bits_and_shares_nothing() -> None:
    model = tiny_learner()
    model.blocks[0].register_forward_hook(lambda *_: pytest.fail("a copy has no listeners"))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    copied = frozen_copy(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    after = copied.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before) and len(before) == len(after)
    assert not any(block._forward_hooks for block in copied.modules())
    assert len(list(copied.parameters())) == len(list(model.parameters()))  # tied weights stay tied
