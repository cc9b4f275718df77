from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

from banyan.core.errors import ConfigError, DataError, FileError
from banyan.runtime.loaded_model import LoadedModel
from banyan.tasks.config import TaskConfig, TaskDataConfig
from banyan.workflows import probing
from banyan.workflows.probe_plot import draw_probe
from banyan.workflows.probing import Probe, fit_and_answer, probe
from banyan.workflows.reporter import SilentReporter


def run(model: LoadedModel, data: Path | str, *, max_examples: int = 60, seed: int = 0) -> Probe:
    return probe(model.directory, str(data), max_examples=max_examples, seed=seed, reporter=SilentReporter())


def rows(path: Path, texts: dict[str, str], *, num: int) -> Path:
    """Write texts with their labels, each made different by a number."""
    lines = [{"text": f"{text} {n}", "label": label} for n in range(num) for label, text in texts.items()]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A label that the embeddings alone give away."""
    return rows(tmp_path / "plain.jsonl", {"low": "aaaa", "high": "zzzz"}, num=60)


def test_every_layer_is_scored_beside_the_commonest_label(loaded: LoadedModel, plain: Path) -> None:
    found = run(loaded, plain)
    assert [score.layer for score in found.layers] == [0, 1, 2]
    assert (found.num_labels, found.num_train, found.num_test) == (2, 60, 24)
    assert found.layers[0].accuracy == 1.0 and found.layers[0].interval.low == 1.0
    assert found.majority.accuracy == pytest.approx(0.5, abs=0.1)
    assert (found.best, found.first_as_good, found.is_held) == (0, 0, True)


def test_what_no_text_tells_is_held_by_no_layer(loaded: LoadedModel, tmp_path: Path) -> None:
    drawn = random.Random(1)
    noise = [{"text": f"text {n}", "label": drawn.choice("ab")} for n in range(200)]
    (tmp_path / "noise.jsonl").write_text("".join(json.dumps(row) + "\n" for row in noise))
    assert not run(loaded, tmp_path / "noise.jsonl").is_held


def test_the_same_seed_gives_the_same_scores(loaded: LoadedModel, plain: Path) -> None:
    assert run(loaded, plain, seed=3) == run(loaded, plain, seed=3)


def test_a_task_of_the_model_is_probed_on_its_own_data(loaded: LoadedModel) -> None:
    found = run(loaded, "classification")
    assert found.num_labels == 2 and found.num_test > 0
    with pytest.raises(ConfigError, match="of kind tagging"):
        run(loaded, "tagging")


@pytest.mark.parametrize(
    ("name", "text", "error"),
    [
        ("one.csv", "text,label\na,x\nb,x\nc,x\n", ConfigError),
        ("bad.csv", "text\na\nb\n", DataError),
        ("missing.csv", None, FileError),
    ],
)
def test_data_that_cannot_be_probed_is_refused(
    loaded: LoadedModel, tmp_path: Path, name: str, text: str | None, error: type[Exception]
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(error):
        run(loaded, tmp_path / name)


def test_a_task_that_holds_nothing_out_asks_for_other_examples(
    loaded: LoadedModel, plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = TaskConfig(name="all", kind="classification", data=TaskDataConfig(train=str(plain)))
    monkeypatch.setattr(probing, "_data_config", lambda data, model: (place, None))
    with pytest.raises(DataError, match="60 rows to learn from and 0 to score") as caught:
        run(loaded, "all")
    assert caught.value.hint is not None and "--probe FILE" in caught.value.hint


def test_a_probe_learns_a_line_and_nothing_else() -> None:
    corners = np.array([[0, 0], [1, 1], [0, 1], [1, 0]] * 20, dtype=np.float32)
    by_side, by_parity = (
        [str(value) for value in values] for values in (corners[:, 0], corners[:, 0] == corners[:, 1])
    )
    assert fit_and_answer(corners, by_side, corners, seed=0) == by_side
    assert fit_and_answer(corners, by_parity, corners, seed=0) != by_parity


def test_the_plot_is_a_png(loaded: LoadedModel, plain: Path) -> None:
    assert draw_probe(run(loaded, plain, max_examples=20)).startswith(b"\x89PNG")
