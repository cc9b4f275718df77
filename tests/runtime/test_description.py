import json
import math
from pathlib import Path

import pytest

from banyan.core.errors import CheckpointError, ConfigError
from banyan.core.model_directory import BANYAN_FILE, IMAGE_TOKENIZER_FILE
from banyan.infer.sampling import SamplingConfig
from banyan.runtime.description import ModelDescription, describe_model, read_description, write_description
from banyan.testing.model_directories import tiny_image_tokenizer
from banyan.testing.tasks import TASKS


def whole_description() -> ModelDescription:
    return describe_model(
        list(TASKS.values()),
        image_tokenizer=tiny_image_tokenizer(),
        sampling={"chat": SamplingConfig(temperature=0.7, stop=("\n\n",))},
        dataset_fingerprint="abc",
        recipe_sha256="def",
        parent="runs/first/best",
    )


def test_a_description_survives_being_written_down(tmp_path: Path) -> None:
    description = whole_description()
    write_description(tmp_path, description)
    assert read_description(tmp_path) == description
    assert json.loads((tmp_path / BANYAN_FILE).read_text())["format"] == 1


def test_tasks_come_back_equal_and_in_the_order_of_their_tokens(tmp_path: Path) -> None:
    write_description(tmp_path, whole_description())
    found = read_description(tmp_path)
    assert list(found.build_tasks().values()) == list(TASKS.values())
    assert found.task_names == tuple(task.name for task in TASKS.values())


def test_a_model_without_pictures_has_no_image_codes() -> None:
    assert describe_model([]).num_image_codes == 0
    assert whole_description().num_image_codes == 16


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "not valid JSON"),
        ("[]", "JSON object"),
        ('{"format": 2}', "format 2"),
        ('{"chat": "morse"}', "chat format 'morse'"),
        ('{"taks": []}', "did you mean tasks"),
        ('{"sampling": {"chat": {"temperature": -1}}}', "temperature"),
        ("\xff", "UTF-8"),
    ],
)
def test_a_description_that_cannot_be_read_is_one_line_with_the_file(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / BANYAN_FILE).write_bytes(content.encode("latin-1"))
    with pytest.raises(CheckpointError, match=said) as caught:
        read_description(tmp_path)
    assert BANYAN_FILE in caught.value.message and "\n" not in caught.value.message


def test_a_missing_description_is_a_checkpoint_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not found"):
        read_description(tmp_path)


@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
def test_a_temperature_that_cannot_be_divided_by_is_named(value: float) -> None:
    with pytest.raises(ConfigError, match="temperatures.topic="):
        ModelDescription(temperatures={"topic": value})


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan])
def test_a_share_that_is_no_part_of_a_whole_is_named(value: float) -> None:
    with pytest.raises(ConfigError, match="table_shares.topic="):
        ModelDescription(table_shares={"topic": value})


def test_a_picture_tokenizer_is_not_taken_for_a_model(tmp_path: Path) -> None:
    (tmp_path / IMAGE_TOKENIZER_FILE).touch()
    with pytest.raises(CheckpointError, match="holds a picture tokenizer and no model"):
        read_description(tmp_path)
