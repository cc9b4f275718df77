from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from banyan.core.errors import CheckpointError, SpaceError
from banyan.core.model_directory import verify_manifest
from banyan.runtime.loading import load
from banyan.tasks.classification import Classification
from banyan.testing.adapters import save_random_adapter
from banyan.testing.model_directories import save_tiny_model
from banyan.testing.tasks import TASKS
from banyan.workflows.merging import merge_adapter

MOOD = Classification(name="mood", labels=("glad", "sad", "calm"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    base = save_tiny_model(folder / "base")
    save_random_adapter(folder / "moods", base, tasks=(*TASKS.values(), MOOD), seed=1)
    merge_adapter(None, folder / "moods", folder / "merged")
    return folder


def test_a_merged_model_answers_as_its_model_under_the_adapter(folder: Path) -> None:
    with load(folder / "moods", device="cpu") as adapted, load(folder / "merged", device="cpu") as merged:
        [found], [expected] = merged.predict("mood", "a fine day"), adapted.predict("mood", "a fine day")
        assert found.labels == pytest.approx(expected.labels, abs=1e-5)
        assert merged.generate("The tree", temperature=0) == adapted.generate("The tree", temperature=0)
        assert list(merged.tasks) == list(adapted.tasks) and merged.adapter is None
        assert merged.bits_per_byte(["oak"]) == pytest.approx(adapted.bits_per_byte(["oak"]), abs=1e-5)


def test_a_merged_model_is_whole_and_opens_in_transformers(folder: Path) -> None:
    verify_manifest(folder / "merged")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other people's code
        import transformers

        assert transformers.AutoModelForCausalLM.from_pretrained(folder / "merged").num_parameters() > 0


def test_nothing_is_written_over_and_nothing_half_is_left(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match="something lies there already"):
        merge_adapter(None, folder / "moods", folder / "base")
    other = save_tiny_model(tmp_path / "other", seed=5)
    with pytest.raises(CheckpointError, match="is not the model that the adapter"):
        merge_adapter(other, folder / "moods", tmp_path / "out")
    assert not (tmp_path / "out").exists()
