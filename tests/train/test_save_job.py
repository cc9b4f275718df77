from pathlib import Path

import torch

from banyan.testing.training import tiny_learner
from banyan.train.average import AverageConfig
from banyan.train.division import Undivided, WholeState
from banyan.train.optimizer import OptimizerConfig, build_optimizer
from banyan.train.save_job import SavedParts, take_job
from banyan.train.state import Progress, TransformerFiles


def parts(*, has_average: bool = False, sidecars: dict[str, bytes] | None = None) -> SavedParts:
    model = tiny_learner()
    optimizer = build_optimizer(model, OptimizerConfig())
    if has_average:
        optimizer.keep_average(AverageConfig(), num_steps=9)
    return SavedParts(
        model=model,
        optimizer=optimizer,
        division=Undivided(state=WholeState(model=model, optimizer=optimizer)),
        weight_files=TransformerFiles(),
        settings={},
        sidecars=sidecars or {},
    )


def test_a_copy_stays_as_it_was_while_training_goes_on(tmp_path: Path) -> None:
    own, progress = parts(), Progress(step=3)
    jobs = [
        take_job(own, progress, loader_state={}, abandoned=frozenset(), shards=tmp_path, is_copy=is_copy)
        for is_copy in (True, False)
    ]
    before = {name: value.clone() for name, value in own.model.state_dict().items()}
    with torch.no_grad():
        for parameter in own.model.parameters():
            parameter.add_(1)
    progress.step = 4
    same = [all(torch.equal(job.model.state_dict()[name], before[name]) for name in before) for job in jobs]
    assert same == [True, False] and jobs[0].progress.step == 3


def test_a_checkpoint_is_no_larger_than_weights_and_memories_and_sidecars() -> None:
    weights = sum(parameter.nbytes for parameter in parts().model.parameters())
    assert parts(sidecars={"a": b"12345"}).checkpoint_bytes == 3 * weights + 5
    assert parts(has_average=True).checkpoint_bytes == 4 * weights
