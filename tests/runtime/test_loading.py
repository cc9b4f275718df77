"""Opening a model directory, and the one line said about each way it can be broken."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import banyan
from banyan.core.errors import CheckpointError, ConfigError, FileError
from banyan.core.files import sha256_of
from banyan.core.model_directory import (
    BANYAN_FILE,
    EXTRAS_FILE,
    IMAGE_TOKENIZER_FILE,
    MANIFEST,
    TOKENIZER_FILE,
    WEIGHTS_FILE,
    write_manifest,
)
from banyan.model.checkpoint import save_model
from banyan.runtime.description import describe_model, write_description
from banyan.runtime.loaded_model import LoadedModel
from banyan.runtime.loading import load
from banyan.testing.model_directories import tiny_image_tokenizer
from banyan.testing.models import tiny_model, tiny_model_config
from banyan.testing.tasks import TASKS
from banyan.testing.vocabulary import tiny_vocabulary
from banyan.tokenizers.bpe import BytePairTokenizer
from banyan.tokenizers.images import PatchCodebook, save_image_tokenizer
from banyan.tokenizers.vocabulary import Vocabulary


def edit_description(directory: Path, change: Callable[[dict], None]) -> None:  # type: ignore[type-arg]
    path = directory / BANYAN_FILE
    mapping = json.loads(path.read_text())
    change(mapping)
    path.write_text(json.dumps(mapping))


def add_task_twice(directory: Path) -> None:
    edit_description(directory, lambda d: d["tasks"].append(d["tasks"][0]))


def add_unknown_kind(directory: Path) -> None:
    edit_description(directory, lambda d: d["tasks"].append({"kind": "clasification", "name": "x"}))


def grow_label_set(directory: Path) -> None:
    edit_description(directory, lambda d: d["tasks"][1]["labels"].append("bush"))


def forget_pictures(directory: Path) -> None:
    edit_description(directory, lambda d: d.update(image_tokenizer=None))


def take_another_tokenizer(directory: Path) -> None:
    words = [f"{first}{second}{third} " * 3 for first in "abcd" for second in "efgh" for third in "ijkl"]
    Vocabulary(BytePairTokenizer.train(words, vocab_size=420)).save(directory)


def take_foreign_tokenizer(directory: Path) -> None:
    (directory / TOKENIZER_FILE).write_text(tiny_vocabulary().text.to_json())


def take_another_image_tokenizer(directory: Path) -> None:
    images = tiny_image_tokenizer().decode([[n, n, n, n] for n in range(16)])
    save_image_tokenizer(
        PatchCodebook.train(images, patch_size=2, num_codes=4, seed=0), directory / IMAGE_TOKENIZER_FILE
    )


def take_another_model(directory: Path) -> None:
    save_model(tiny_model(tiny_model_config()), directory)


def remove(name: str) -> Callable[[Path], None]:
    return lambda directory: (directory / name).unlink()


def truncate(name: str) -> Callable[[Path], None]:
    def cut(directory: Path) -> None:
        content = (directory / name).read_bytes()
        (directory / name).write_bytes(content[: len(content) // 2])

    return cut


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (add_task_twice, "names a task twice"),
        (add_unknown_kind, "did you mean classification"),
        (grow_label_set, "task topic needs a classification head with 3 outputs"),
        (forget_pictures, "belong to different models"),
        (take_another_tokenizer, "belong to different models"),
        (take_foreign_tokenizer, "special tokens"),
        (take_another_image_tokenizer, "belongs to another model"),
        (take_another_model, "belong to different models"),
        (remove(IMAGE_TOKENIZER_FILE), "draws pictures"),
        (remove(TOKENIZER_FILE), "not found"),
        (remove(BANYAN_FILE), "not found"),
        (remove(WEIGHTS_FILE), "model.safetensors"),
        (remove(EXTRAS_FILE), "extras.safetensors"),
        (truncate(WEIGHTS_FILE), "model.safetensors"),
        (truncate(TOKENIZER_FILE), "tokenizer"),
        (truncate(BANYAN_FILE), "JSON"),
        (truncate(IMAGE_TOKENIZER_FILE), "image_tokenizer.safetensors"),
    ],
)
def test_a_directory_whose_parts_do_not_fit_is_refused_in_one_line(
    tiny_directory: Path, tmp_path: Path, damage: Callable[[Path], None], said: str
) -> None:
    directory = Path(shutil.copytree(tiny_directory, tmp_path / "model"))
    damage(directory)
    write_manifest(directory)  # the damage was there before the directory was saved
    with pytest.raises(CheckpointError, match=said) as caught:
        load(directory, device="cpu")
    assert "\n" not in caught.value.message and str(directory) in caught.value.message


@pytest.mark.parametrize("name", [WEIGHTS_FILE, TOKENIZER_FILE, BANYAN_FILE, EXTRAS_FILE, IMAGE_TOKENIZER_FILE])
def test_a_file_that_changed_after_saving_is_refused(tiny_directory: Path, tmp_path: Path, name: str) -> None:
    directory = Path(shutil.copytree(tiny_directory, tmp_path / "model"))
    content = bytearray((directory / name).read_bytes())
    content[len(content) // 2] ^= 1
    (directory / name).write_bytes(content)
    with pytest.raises(CheckpointError, match="sha256 mismatch"):
        load(directory, device="cpu")


def test_a_run_directory_is_told_from_a_model(tiny_directory: Path, tmp_path: Path) -> None:
    (tmp_path / "best").symlink_to(tiny_directory)
    with pytest.raises(CheckpointError, match="is a run") as caught:
        load(tmp_path, device="cpu")
    assert caught.value.hint == f"its best model is {tmp_path / 'best'}"
    load(tmp_path / "best", device="cpu").close()


def test_a_missing_directory_and_an_unknown_device_are_said_as_such(tmp_path: Path, tiny_directory: Path) -> None:
    with pytest.raises(FileError, match="not a model directory"):
        load(tmp_path / "nothing", device="cpu")
    with pytest.raises(ConfigError, match="device"):
        load(tiny_directory, device="abacus")


def test_a_model_without_pictures_and_heads_opens_too(tmp_path: Path) -> None:
    lm = TASKS["language_modeling"]
    save_model(tiny_model(tiny_model_config()), tmp_path)
    tiny_vocabulary((lm.name,)).save(tmp_path)
    write_description(tmp_path, describe_model([lm]))
    write_manifest(tmp_path)
    with load(str(tmp_path), device="cpu", num_slots=1) as model:
        assert list(model.tasks) == ["lm"] and model.image_tokenizer is None


def test_a_model_is_known_by_its_manifest(model: LoadedModel, tiny_directory: Path) -> None:
    assert model.sha256 == sha256_of(tiny_directory / MANIFEST)


def test_banyan_load_opens_the_same_model(tiny_directory: Path) -> None:
    with banyan.load(tiny_directory, device="cpu", num_slots=1) as model:
        assert isinstance(model, LoadedModel)


def test_importing_banyan_imports_neither_torch_nor_numpy() -> None:
    code = "import banyan, sys; assert not {'torch', 'numpy', 'yaml', 'pydantic'} & set(sys.modules); banyan.load"
    subprocess.run([sys.executable, "-c", code], check=True)
