import shutil
from pathlib import Path
from typing import Any

import pytest

from banyan.core.errors import ConfigError
from banyan.core.files import read_json
from banyan.testing.transfer_runs import TransferRuns, losses_of, weights_of
from banyan.train.callbacks import Callback
from banyan.workflows.augmenting import FOLDER


class StopAt(Callback):
    def on_step(self, record: Any) -> None:
        if record.step == 2:
            raise KeyboardInterrupt


def augmented(runs: TransferRuns, run: str, model: Path, **keys: Any) -> Any:
    augment = {"share": 0.9, "word_dropout": 0.2, "swap": 0.3, "synonyms": 0.5, "model": str(model)}
    sizes = {"num_layers": 1, "num_heads": 2, "num_kv_heads": 1, "embed_dim": 16, "head_dim": 8, "ffn_dim": 32}
    tasks = [runs.task("film", augment=augment, class_weights="balanced")]
    return runs.run(run, tasks, model=sizes, train={"checkpoint_every": 2}, **keys).run_directory


def test_a_run_that_was_stopped_learns_the_same_wordings_even_when_the_model_it_asked_is_gone(
    transfer_runs: TransferRuns, tmp_path: Path
) -> None:
    model = tmp_path / "asked"
    shutil.copytree(transfer_runs.folder / "parent" / "best", model)
    whole = augmented(transfer_runs, "worded", model)
    with pytest.raises(KeyboardInterrupt):
        augmented(transfer_runs, "worded-stopped", model, callbacks=(StopAt(),))
    shutil.rmtree(model)
    resumed = augmented(transfer_runs, "worded-stopped", model, resume=True)
    assert losses_of(resumed) == losses_of(whole)
    assert weights_of(resumed / "last") == weights_of(whole / "last")
    synonyms = read_json(whole / FOLDER / "film.json")["synonyms"]
    assert synonyms and all(word not in near for word, near in synonyms.items())


@pytest.mark.parametrize(
    ("augment", "transfer", "message"),
    [
        ({"synonyms": 0.1}, {}, "none is named"),
        ({"back_translation": 0.1, "model": "m"}, {}, "needs a language to go through"),
        ({"swap": 0.1}, {"parent": "m", "mode": "head"}, "computed once"),
    ],
)
def test_what_lacks_a_model_or_a_trunk_that_learns_is_refused_as_the_recipe_is_read(
    tmp_path: Path, augment: dict[str, Any], transfer: dict[str, Any], message: str
) -> None:
    runs = TransferRuns(tmp_path)
    with pytest.raises(ConfigError, match=message):
        runs.recipe("run", [runs.task("film", augment=augment)], transfer=transfer)
