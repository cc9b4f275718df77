"""Which tokenizers a run uses is settled before anything is rendered."""

import json
from pathlib import Path

import pytest

from banyan.core.errors import CheckpointError, ConfigError
from banyan.testing.transfer_runs import TransferRuns
from banyan.transfer.vocabulary import GrowConfig
from banyan.workflows.growing import grow_directory


def test_pictures_come_to_a_parent_with_as_many_codes_as_it_has_room_for(transfer_runs: TransferRuns) -> None:
    image = {"width": 2, "height": 2, "channels": 1, "pixels": [0, 255, 255, 0]}
    rows = [{"text": f"a dot {n}", "image": {**image, "pixels": [n, 255 - n, n, 9]}, "label": "1"} for n in range(20)]
    transfer_runs.rows("draw").write_text("".join(json.dumps(row) + "\n" for row in rows))
    draw = {"name": "draw", "kind": "image_generation", "data": {"train": str(transfer_runs.rows("draw"))}}
    grown = {"num_image_codes": 8, "grid_size": 2}
    transfer = {"parent": str(transfer_runs.folder / "parent"), "grow_vocabulary": grown}
    codes = {"num_codes": 8, "patch_size": 1}
    drawn = transfer_runs.run("drawn", [draw], transfer=transfer, image_tokenizer=codes, train={"steps": 1})
    assert drawn.material.vocabulary.num_image_codes == 8
    with pytest.raises(ConfigError, match="image_tokenizer.num_codes=4 do not fit the vocabulary, which has 8"):
        transfer_runs.run(
            "drawn with fewer codes", [draw], transfer=transfer, image_tokenizer={**codes, "num_codes": 4}
        )


def test_a_grown_tokenizer_is_for_its_own_model_alone(transfer_runs: TransferRuns, tmp_path: Path) -> None:
    grow_directory(transfer_runs.folder / "parent/best", tmp_path / "grown", GrowConfig(words=("banyan",)))
    with pytest.raises(CheckpointError, match="tokenizer.path=.* was grown") as caught:
        transfer_runs.run("child", [transfer_runs.task("trip")], tokenizer={"path": str(tmp_path / "grown")})
    assert caught.value.hint is not None and "transfer.parent" in caught.value.hint
