import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from banyan.core.config import config_from_mapping, write_config
from banyan.core.errors import CheckpointError, ConfigError, DataError, FileError
from banyan.core.files import sha256_of
from banyan.data.sources import read_rows
from banyan.tasks.pictures import read_picture
from banyan.workflows.picture_judging import (
    JUDGE_FILE,
    JudgeRecipe,
    SavedJudge,
    is_judge_recipe,
    load_judge,
    read_judge_recipe,
    train_judge_of,
)
from banyan.workflows.reporter import SilentReporter


@pytest.fixture(scope="module")
def recipe(judge_keys: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("judge") / "judge.yaml"
    write_config(path, judge_keys)
    return path


def test_a_recipe_of_a_judge_is_told_from_others(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("name: x\n")
    assert is_judge_recipe(recipe) and not is_judge_recipe(tmp_path / "other.yaml")
    assert read_judge_recipe(recipe, overrides=["width=16"]).width == 16
    for change, problem in (
        ("width=12", "multiple of 8"),
        ("image_size=3", "4 to 4096 pixels"),
        ("seed=-1", "seed=-1"),
    ):
        with pytest.raises(ConfigError, match=problem):
            read_judge_recipe(recipe, overrides=[change])


def test_a_judge_is_its_file_and_knows_how_good_it_is(judge: SavedJudge, judge_file: Path, tiny_files: Any) -> None:
    again = load_judge(judge_file.parent)
    assert judge.sha256 == again.sha256 == sha256_of(judge_file)
    rows = list(read_rows(tiny_files["image_generation"]))
    seen = again.look([read_picture(row["image"]) for row in rows])
    right = np.mean([label == row["label"] for label, row in zip(seen.labels, rows, strict=True)])
    assert right > 0.9 and (judge.description.accuracy or 0) > 0.9
    images = [read_picture(row["image"]) for row in rows]
    assert again.known_share(images) == pytest.approx(judge.description.num_pictures / len(rows))
    assert seen.features.shape == (len(rows), judge.net.num_features)
    assert not any(weight.requires_grad for weight in again.net.parameters())


def test_the_same_recipe_gives_the_same_hash(judge: SavedJudge, recipe: Path, tmp_path: Path) -> None:
    again = train_judge_of(read_judge_recipe(recipe), reporter=SilentReporter(), directory=tmp_path)
    assert again.sha256 == judge.sha256


def test_one_grey_picture_among_coloured_ones_does_not_make_the_judge_blind_to_colour(tmp_path: Path) -> None:
    pictures = [{"width": 4, "height": 4, "channels": c, "pixels": [9] * 16 * c} for c in (1, 3, 3, 3)]
    rows = [json.dumps({"image": picture, "label": number % 2}) for number, picture in enumerate(pictures)]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    keys = {"kind": "picture_judge", "name": "mixed", "width": 8, "data": {"train": str(tmp_path / "rows.jsonl")}}
    recipe = config_from_mapping(JudgeRecipe, keys)
    assert train_judge_of(recipe, reporter=SilentReporter(), directory=tmp_path).description.channels == 3


def test_a_judge_of_one_label_has_nothing_to_tell_apart(tmp_path: Path) -> None:
    picture = {"width": 4, "height": 4, "channels": 1, "pixels": [9] * 16}
    (tmp_path / "rows.jsonl").write_text("\n".join([json.dumps({"image": picture, "label": "cat"})] * 3))
    keys = {"kind": "picture_judge", "name": "cats", "data": {"train": str(tmp_path / "rows.jsonl")}}
    with pytest.raises(DataError, match="cats: all pictures of data.train have the label 'cat'") as caught:
        train_judge_of(config_from_mapping(JudgeRecipe, keys), reporter=SilentReporter(), directory=tmp_path)
    assert "a folder for each class" in (caught.value.hint or "")


def test_as_many_broken_pictures_are_left_out_as_the_recipe_allows(tmp_path: Path) -> None:
    whole = {"width": 4, "height": 4, "channels": 1, "pixels": [9] * 16}
    rows = [{"image": whole, "label": number % 2} for number in range(4)] + [{"image": "missing.png", "label": 1}]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    keys = {"kind": "picture_judge", "name": "broken", "width": 8}
    strict, lenient = (
        config_from_mapping(
            JudgeRecipe, {**keys, "data": {"train": str(tmp_path / "rows.jsonl"), "max_bad_share": share}}
        )
        for share in (0.1, 0.2)
    )
    with pytest.raises(DataError, match="cannot read 1 of 5 rows"):
        train_judge_of(strict, reporter=SilentReporter(), directory=tmp_path)
    assert train_judge_of(lenient, reporter=SilentReporter(), directory=tmp_path).description.num_pictures == 4


def test_what_is_no_judge_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="there is no judge"):
        load_judge(tmp_path)
    (tmp_path / JUDGE_FILE).write_bytes(safetensors.torch.save({"x": torch.zeros(1)}))
    with pytest.raises(CheckpointError, match="no judge of pictures"):
        load_judge(tmp_path)
