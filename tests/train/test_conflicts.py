import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from banyan.model.transformer import Transformer
from banyan.testing.training import HEADS, TASKS, tiny_batch, tiny_learner, tiny_trainer
from banyan.train.conflicts import ConflictMonitor
from banyan.train.losses import joint_loss
from banyan.train.run_files import read_json_lines

LOSS = partial(joint_loss, task_heads=HEADS)


def learner() -> Transformer:
    """A model whose blocks add something, so that its last block has a gradient."""
    model, generator = tiny_learner(), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return model


def monitor(model: Transformer, loss_function: Any = LOSS) -> ConflictMonitor:
    return ConflictMonitor(model, loss_function=loss_function, num_tasks=len(TASKS), every=5)


def test_cosines_are_those_of_whole_backward_passes() -> None:
    model, batch = learner(), tiny_batch()
    found = monitor(model).measured(batch, [], num_parts=1)
    rows = []
    for task in range(3):
        model.zero_grad()
        LOSS(model, batch).means[task].backward()
        rows.append(torch.cat([p.grad.flatten() for p in model.blocks[-1].parameters() if p.grad is not None]))
    for a in range(3):
        for b in range(3):
            wanted = (
                None if a == b else pytest.approx(float(torch.cosine_similarity(rows[a], rows[b], dim=0)), abs=1e-5)
            )
            assert found[a][b] == wanted


def test_a_look_computes_every_row_once_and_leaves_no_gradient() -> None:
    model, batch, seen = learner(), tiny_batch(), []

    def counted(model: Any, part: Any) -> Any:
        seen.append(len(part.token_ids))
        return LOSS(model, part)

    monitor(model, counted).measured(batch, [], num_parts=1)
    assert seen == [2, 2, 2]
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_pair_that_is_not_there_keeps_its_running_mean() -> None:
    model = learner()
    first = monitor(model).measured(tiny_batch(), [], num_parts=1)
    second = monitor(model).measured(tiny_batch(tasks=("words", "spans")), first, num_parts=1)
    assert second[0][1] == first[0][1]
    again = monitor(model).measured(tiny_batch(seed=3), first, num_parts=1)
    alone = monitor(model).measured(tiny_batch(seed=3), [], num_parts=1)
    assert again[0][1] == pytest.approx(0.9 * first[0][1] + 0.1 * alone[0][1])  # type: ignore[operator]


def test_it_looks_every_so_many_steps_and_never_at_a_single_task() -> None:
    model = learner()
    assert [step for step in range(1, 12) if monitor(model).is_due(step)] == [5, 10]
    assert not ConflictMonitor(model, loss_function=LOSS, num_tasks=1, every=1).is_due(1)
    assert not ConflictMonitor(model, loss_function=LOSS, num_tasks=3, every=None).is_due(5)


def test_looking_changes_no_weight_and_is_written_down(tmp_path: Path) -> None:
    looked = tiny_trainer(tmp_path / "looked", steps=6, train={"conflicts_every": 3}).fit()
    blind = tiny_trainer(tmp_path / "blind", steps=6, train={"conflicts_every": None}).fit()
    weights = [result.last_checkpoint / "model.safetensors" for result in (looked, blind)]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    lines = {line["step"]: line for line in read_json_lines(tmp_path / "looked" / "metrics.jsonl")}
    assert [step for step, line in lines.items() if "task_cosines" in line] == [3, 6]
    state = json.loads((looked.last_checkpoint / "state.json").read_text())
    assert lines[6]["task_cosines"] == {
        f"{TASKS[a]} / {TASKS[b]}": state["task_cosines"][a][b] for a in range(3) for b in range(a + 1, 3)
    }
