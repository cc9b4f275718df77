"""Adapters beside an open model, and adapters opened by themselves: they find their model, and only theirs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from banyan.core.errors import BanyanError, CheckpointError, ConfigError, FileError, UnknownNameError
from banyan.core.model_directory import write_manifest
from banyan.model.checkpoint import load_model
from banyan.model.peft_format import save_adapter
from banyan.runtime.loaded_model import LoadedModel
from banyan.runtime.loading import load
from banyan.tasks.classification import Classification
from banyan.testing.adapters import give_random_adapter, save_random_adapter
from banyan.testing.model_directories import save_tiny_model
from banyan.testing.tasks import TASKS

MOOD = Classification(name="mood", labels=("glad", "sad", "calm"))
TAUGHT = (*TASKS.values(), MOOD)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, and two adapters beside it."""
    folder = tmp_path_factory.mktemp("models")
    base = save_tiny_model(folder / "base")
    save_random_adapter(folder / "moods", base, tasks=TAUGHT, seed=1, name="moods")
    save_random_adapter(folder / "other", base, tasks=list(TASKS.values()), seed=2)
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> Iterator[LoadedModel]:
    with load(folder / "base", device="cpu", num_slots=4) as model:
        model.load_adapter("moods", folder / "moods")
        model.load_adapter("other", folder / "other")
        yield model


def test_an_adapter_answers_its_own_tasks_with_its_own_heads(model: LoadedModel) -> None:
    [prediction] = model.predict("mood", "a fine day", adapter="moods")
    assert prediction.text in MOOD.labels
    with pytest.raises(UnknownNameError, match="no task 'mood'"):
        model.predict("mood", "a fine day")
    with pytest.raises(UnknownNameError, match="no task 'mood'"):
        model.predict("mood", "a fine day", adapter="other")


def test_every_way_of_asking_takes_an_adapter(model: LoadedModel) -> None:
    plain, under = ({"adapter": None}, {"adapter": "moods"})
    assert model.generate("The tree", temperature=0, **plain) != model.generate("The tree", temperature=0, **under)
    assert model.chat("Hello", temperature=0, **plain) != model.chat("Hello", temperature=0, **under)
    assert "".join(model.generate_stream("The tree", seed=1, **under)) == model.generate("The tree", seed=1, **under)
    assert "".join(model.chat_stream("Hello", seed=1, **under)) == model.chat("Hello", seed=1, **under)
    assert model.draw("oak", seed=1, **plain) != model.draw("oak", seed=1, **under)
    assert model.bits_per_byte(["oak"], **plain) != model.bits_per_byte(["oak"], **under)
    assert (model.embed("oak", **plain) != model.embed("oak", **under)).any()


def test_the_model_itself_answers_as_without_adapters(folder: Path, model: LoadedModel) -> None:
    with load(folder / "base", device="cpu", num_slots=4) as alone:
        assert alone.generate("The tree", seed=3) == model.generate("The tree", seed=3)
        assert alone.num_parameters == model.num_parameters < model.under("moods").num_parameters


def test_an_adapter_opened_by_itself_answers_as_beside_its_model(folder: Path, model: LoadedModel) -> None:
    with load(folder / "moods", device="cpu", num_slots=4) as alone:
        assert alone.adapter == "moods" and alone.directory == folder / "moods"
        [found], [expected] = alone.predict("mood", "a fine day"), model.predict("mood", "a fine day", adapter="moods")
        assert found.labels == pytest.approx(expected.labels, abs=1e-6)
        assert alone.sha256 == model.under("moods").sha256 != model.sha256


def test_an_adapter_and_its_model_may_move_together(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "moved")
    renamed = folder.rename(folder.with_name("away"))
    try:
        with load(tmp_path / "moved/moods", device="cpu") as model:
            assert model.trunk is not None and model.trunk.directory == tmp_path / "moved/base"
    finally:
        renamed.rename(folder)


def test_an_adapter_whose_model_has_moved_says_how_to_name_it(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "moods", tmp_path / "moods")
    away = (folder / "base").rename(tmp_path / "elsewhere")
    try:
        with pytest.raises(FileError, match="its model .*base is not there") as caught:
            load(tmp_path / "moods", device="cpu")
        assert caught.value.hint is not None and "--base DIR" in caught.value.hint
        with load(tmp_path / "moods", device="cpu", base=away) as model:
            assert model.predict("mood", "a fine day")
    finally:
        away.rename(folder / "base")


def test_another_model_is_not_taken_for_the_one_it_was_made_for(folder: Path, tmp_path: Path) -> None:
    other = save_tiny_model(tmp_path / "other", seed=5)
    with pytest.raises(CheckpointError, match="is not the model that the adapter .* was made for") as caught:
        load(folder / "moods", device="cpu", base=other)
    assert caught.value.hint is not None and str(folder / "base") in caught.value.hint
    with load(other, device="cpu") as model:
        with pytest.raises(CheckpointError, match="is not the model"):
            model.load_adapter("moods", folder / "moods")
        assert not model.adapters and not model.model.adapters


def test_a_folder_of_another_tool_answers_the_tasks_of_the_model(folder: Path, tmp_path: Path) -> None:
    base = load_model(folder / "base")
    give_random_adapter(base, "a", seed=4)
    save_adapter(base, "a", tmp_path / "theirs", base=str(folder / "base"))
    (tmp_path / "theirs/model.json").unlink()
    with load(folder / "base", device="cpu") as model:
        view = model.load_adapter("theirs", tmp_path / "theirs")
        assert list(view.tasks) == list(model.tasks)
        assert view.generate("The tree", temperature=0) != model.generate("The tree", temperature=0)
    with load(tmp_path / "theirs", device="cpu") as alone:  # it names the folder of its model
        assert alone.adapter == "default"


def test_a_folder_of_another_tool_that_names_no_folder_asks_for_its_model(folder: Path, tmp_path: Path) -> None:
    base = load_model(folder / "base")
    give_random_adapter(base, "a")
    save_adapter(base, "a", tmp_path / "theirs", base="meta-llama/Llama-3")
    with pytest.raises(FileError, match="an adapter for 'meta-llama/Llama-3', which is no folder here"):
        load(tmp_path / "theirs", device="cpu")


@pytest.mark.parametrize("name", ["moods", "a:b", "", "../x"])
def test_a_name_that_is_taken_or_none_is_refused(folder: Path, model: LoadedModel, name: str) -> None:
    with pytest.raises(ConfigError):
        model.load_adapter(name, folder / "moods")


def test_a_damaged_adapter_is_refused_and_the_model_answers_on(
    folder: Path, tmp_path: Path, model: LoadedModel
) -> None:
    shutil.copytree(folder / "moods", tmp_path / "bad")
    with (tmp_path / "bad/adapter_model.safetensors").open("r+b") as file:
        file.seek(-3, 2)
        file.write(b"\0\1\2")
    with pytest.raises(CheckpointError, match="sha256 mismatch"):
        model.load_adapter("bad", tmp_path / "bad")
    assert "bad" not in model.adapters and model.generate("The tree", max_tokens=2) is not None


def test_a_task_whose_head_the_adapter_lacks_is_refused(folder: Path, tmp_path: Path, model: LoadedModel) -> None:
    shutil.copytree(folder / "moods", tmp_path / "bad")
    described = json.loads((tmp_path / "bad/model.json").read_text())
    described["heads"] = []
    (tmp_path / "bad/model.json").write_text(json.dumps(described))
    (tmp_path / "bad/manifest.json").unlink()
    write_manifest(tmp_path / "bad")
    with pytest.raises(CheckpointError, match="needs a .* head"):
        model.load_adapter("bad", tmp_path / "bad")


def test_a_whole_model_is_no_adapter_and_takes_no_base(folder: Path, model: LoadedModel) -> None:
    with pytest.raises(BanyanError, match="is missing: this is not an adapter"):
        model.load_adapter("base", folder / "base")
    with pytest.raises(ConfigError, match="is a whole model"):
        load(folder / "base", base=folder / "base")


def test_an_adapter_loaded_through_another_lies_beside_it(folder: Path) -> None:
    with load(folder / "moods", device="cpu") as moods:
        view = moods.load_adapter("more", folder / "other")
        assert view.trunk is moods.trunk and set(view.adapters) == {"moods", "more"}
        assert moods.under("more") is view
