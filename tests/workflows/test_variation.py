from typing import Any

import pytest

from banyan.core.config import config_from_mapping
from banyan.core.errors import ConfigError
from banyan.testing.transfer_runs import TransferRuns, losses_of, weights_of
from banyan.train.callbacks import Callback
from banyan.workflows.recipe import Recipe

TASKS = [{"name": "area", "kind": "classification"}]
SIZES = {"num_layers": 1, "num_heads": 2, "num_kv_heads": 1, "embed_dim": 16, "head_dim": 8, "ffn_dim": 32}


@pytest.mark.parametrize(
    "changes",
    [
        {"train": {"r_drop": -1}},
        {"train": {"r_drop": 1, "update_in_backward": True}},
        {"train": {"r_drop": 1}, "parallel": {"shard": 2}},
        {"train": {"embedding_noise": 5}, "transfer": {"parent": "runs/a", "mode": "head"}},
    ],
    ids=["below 0", "weights that move in the backward pass", "a divided model", "a frozen trunk"],
)
def test_noise_that_could_not_do_its_work_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"train\.(r_drop|embedding_noise)="):
        config_from_mapping(Recipe, {"name": "run", "tasks": TASKS, **changes})


def test_r_drop_without_anything_random_is_refused_before_the_first_step(tmp_path: Any) -> None:
    runs = TransferRuns(tmp_path)
    with pytest.raises(ConfigError, match=r"train\.r_drop=1.0 compares two passes that would be the same"):
        runs.run("run", [runs.task("film")], model=SIZES, train={"r_drop": 1.0})


class StopAt(Callback):
    def on_step(self, record: Any) -> None:
        if record.step == 2:
            raise KeyboardInterrupt


def test_a_run_with_noise_goes_on_as_if_it_had_not_been_stopped(tmp_path: Any) -> None:
    runs = TransferRuns(tmp_path)
    keys: dict[str, Any] = {"model": SIZES, "train": {"r_drop": 0.5, "embedding_noise": 5.0, "checkpoint_every": 2}}
    whole = runs.run("whole", [runs.task("film")], **keys)
    with pytest.raises(KeyboardInterrupt):
        runs.run("stopped", [runs.task("film")], callbacks=(StopAt(),), **keys)
    resumed = runs.run("stopped", [runs.task("film")], resume=True, **keys)
    assert losses_of(resumed.run_directory) == losses_of(whole.run_directory)
    last = [outcome.run_directory / "last" for outcome in (whole, resumed)]
    assert weights_of(last[0]) == weights_of(last[1])
