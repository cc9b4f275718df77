from pathlib import Path

from banyan.core.config import read_config
from banyan.runtime.description import read_description
from banyan.tokenizers.images import load_image_tokenizer
from banyan.tokenizers.vocabulary_loading import load_own_vocabulary
from banyan.workflows.recipe import Recipe
from banyan.workflows.sidecars import sidecars_of
from banyan.workflows.training import TrainingOutcome


def unpacked(run: TrainingOutcome, directory: Path) -> Path:
    for name, content in sidecars_of(run.recipe, run.material).items():
        (directory / name).write_bytes(content)
    return directory


def test_the_files_give_back_what_the_run_was_made_of(tiny_run: TrainingOutcome, tmp_path: Path) -> None:
    directory = unpacked(tiny_run, tmp_path)
    material = tiny_run.material
    description = read_description(directory)
    assert list(description.task_names) == [task.name for task in material.tasks]
    assert tuple(description.build_tasks().values()) == material.tasks
    assert description.dataset_fingerprint == material.fingerprint
    vocabulary = load_own_vocabulary(
        directory, task_names=description.task_names, num_image_codes=description.num_image_codes
    )
    assert vocabulary.size == material.vocabulary.size
    assert vocabulary.encode("red 世界") == material.vocabulary.encode("red 世界")
    assert material.image_tokenizer is not None
    found = load_image_tokenizer(directory / "image_tokenizer.safetensors")
    assert found.num_codes == material.image_tokenizer.num_codes


def test_the_recipe_among_them_is_the_resolved_one(tiny_run: TrainingOutcome, tmp_path: Path) -> None:
    saved = read_config(Recipe, unpacked(tiny_run, tmp_path) / "recipe.yaml")
    assert saved == tiny_run.recipe
    assert read_description(tmp_path).recipe_sha256 == saved.fingerprint


def test_the_same_run_has_the_same_files(tiny_run: TrainingOutcome) -> None:
    assert sidecars_of(tiny_run.recipe, tiny_run.material) == sidecars_of(tiny_run.recipe, tiny_run.material)
