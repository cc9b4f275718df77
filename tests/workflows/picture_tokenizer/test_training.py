"""A recipe of a picture tokenizer becomes a tokenizer: learned, scored, saved without pickle, and resumed bitwise."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from banyan.core.config import config_from_mapping
from banyan.core.errors import ConfigError, DataError
from banyan.core.files import read_json
from banyan.core.types import Image
from banyan.testing.pictures import tiny_pictures, write_tiny_npz
from banyan.tokenizers.images import load_image_tokenizer
from banyan.tokenizers.pictures import image_from_array
from banyan.train.callbacks import Callback, StepRecord
from banyan.train.run_files import read_json_lines
from banyan.workflows.picture_tokenizer.recipe import PictureTokenizerRecipe
from banyan.workflows.picture_tokenizer.training import PictureTokenizerOutcome, train_picture_tokenizer
from banyan.workflows.reporter import SilentReporter

ALL_PARTS = {"perceptual": 0.1, "adversarial": 0.1, "adversarial_start": 0.5}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_npz(tmp_path_factory.mktemp("pictures") / "bars.npz")


def recipe_of(archive: Path, **changes: Any) -> PictureTokenizerRecipe:
    mapping = {
        "kind": "image_tokenizer",
        "name": "bars",
        "data": {"train": str(archive), "validation_fraction": 0.3},
        "pictures": {"augment": {"crop_pixels": 1}},
        "tokenizer": {"levels": [4, 4], "widths": [16, 16]},
        "train": {"steps": 6, "micro_batch_seqs": 8, "evaluate_every": 3, "checkpoint_every": 3, "log_every": 1},
        **changes,
    }
    return config_from_mapping(PictureTokenizerRecipe, mapping)


def train(recipe: PictureTokenizerRecipe, run: Path, **options: Any) -> PictureTokenizerOutcome:
    return train_picture_tokenizer(recipe, reporter=SilentReporter(), run_directory=run, **options)


def pictures() -> list[Image]:
    return [image_from_array(array) for array in tiny_pictures(6, seed=9)]


def test_a_recipe_becomes_a_tokenizer_with_scores_and_a_sheet(archive: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    outcome = train(recipe_of(archive, train={"steps": 60, "micro_batch_seqs": 32, "evaluate_every": 30}), run)
    tokenizer = load_image_tokenizer(run / "best")
    assert (tokenizer.image_size, tokenizer.grid_size, tokenizer.num_codes, tokenizer.channels) == (8, 2, 16, 1)
    codes = tokenizer.encode(pictures())
    assert len(set(codes)) > 3
    decoded = tokenizer.decode(codes)
    assert (decoded[0].width, decoded[0].height) == (8, 8)
    described = read_json(run / "best" / "image_tokenizer.json")
    assert (described["num_codes"], described["label_names"]) == (16, ["0", "1", "2"])
    [first, last] = [line["metrics"] for line in read_json_lines(run / "events.jsonl") if "metrics" in line]
    assert first["psnr"] < last["psnr"] == outcome.result.best_score
    assert last["code_use"] > 0.5
    assert (run / "samples" / "step-00000060-reconstructions.png").read_bytes().startswith(b"\x89PNG")


class StopAfter(Callback):
    def __init__(self, step: int) -> None:
        self._step = step

    def on_step(self, record: StepRecord) -> None:
        if record.step == self._step:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("quantizer", ["fsq", "vq"])
def test_an_interrupted_run_ends_with_the_bits_of_one_that_was_not(
    archive: Path, tmp_path: Path, quantizer: str
) -> None:
    shape = {"quantizer": quantizer, "levels": [4, 4], "num_codes": 16, "code_dim": 2, "widths": [8, 8]}
    recipe = recipe_of(archive, tokenizer=shape, loss=ALL_PARTS)
    train(recipe, tmp_path / "whole")
    stopped = train(recipe, tmp_path / "parts", callbacks=[StopAfter(4)])
    assert (stopped.result.steps, stopped.result.stopped_by) == (4, "interrupt")
    train(recipe, tmp_path / "parts", resume=True)
    for name in ("image_tokenizer.safetensors", "training_nets.safetensors", "optimizer.safetensors"):
        assert (tmp_path / "whole/last" / name).read_bytes() == (tmp_path / "parts/last" / name).read_bytes()


def test_the_opponent_comes_in_late_and_is_reported_apart(archive: Path, tmp_path: Path) -> None:
    train(recipe_of(archive, loss=ALL_PARTS), tmp_path / "run")
    parts = [set(line["task_losses"]) for line in read_json_lines(tmp_path / "run/metrics.jsonl") if "loss" in line]
    always = {"pixels", "perceptual", "features", "spread"}
    assert parts == [always] * 3 + [always | {"adversarial", "discriminator"}] * 3


def test_a_run_does_not_go_on_with_other_pictures_or_sizes(archive: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(recipe_of(archive), run)
    with pytest.raises(ConfigError, match="already holds a run"):
        train(recipe_of(archive), run)
    with pytest.raises(ConfigError, match=r"tokenizer\.num_blocks"):
        changed = recipe_of(archive, tokenizer={"levels": [4, 4], "widths": [16, 16], "num_blocks": 2})
        train(changed, run, resume=True)
    other = write_tiny_npz(tmp_path / "other.npz", num=63)
    with pytest.raises(DataError, match="not those the run began with"):
        train(recipe_of(other), run, resume=True)


def test_pictures_too_small_for_the_perceptual_part_are_refused_and_learned_without_it(
    archive: Path, tmp_path: Path
) -> None:
    small = {"image_size": 4}
    with pytest.raises(ConfigError, match="at least 8 pixels a side, got 4"):
        train(recipe_of(archive, pictures=small), tmp_path / "refused")
    done = train(recipe_of(archive, pictures=small, loss={"perceptual": 0}), tmp_path / "learned")
    assert done.result.steps == 6
