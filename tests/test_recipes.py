"""Every recipe that we ship runs, at a tiny size."""

from __future__ import annotations

from pathlib import Path

import pytest

import banyan.recipes
from banyan.core.config import config_from_mapping, read_config, read_mapping
from banyan.core.paths import data_directory
from banyan.testing.pictures import write_tiny_npz
from banyan.tokenizers.images import load_image_tokenizer
from banyan.workflows.picture_judging import read_judge_recipe, train_judge_of
from banyan.workflows.picture_tokenizer.recipe import read_picture_recipe
from banyan.workflows.picture_tokenizer.training import train_picture_tokenizer
from banyan.workflows.recipe import Recipe
from banyan.workflows.reporter import SilentReporter
from banyan.workflows.training import train

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = sorted(ROOT.glob("recipes/**/*.yaml"))
CHILDREN = [path for path in SHIPPED if path.stem.startswith("transfer-")]  # begin with another run's model
PICTURES = [path for path in SHIPPED if path.stem.startswith("image_tokenizer")]
DRAWING = [path for path in SHIPPED if path.stem.startswith("pictures-") and path.stem != "pictures-read"]
READING = [path for path in SHIPPED if path.stem == "pictures-read"]
JUDGES = [path for path in SHIPPED if path.stem.startswith("picture-judge")]
OTHERS = [path for path in SHIPPED if path not in CHILDREN + PICTURES + DRAWING + READING + JUDGES]
PACKAGED = sorted(Path(banyan.recipes.__path__[0]).glob("**/*.yaml"))
TINY = [
    "minutes=null",
    "model={preset: banyan-nano, num_layers: 1}",
    "tokenizer={vocab_size: 1500, max_training_bytes: 300000}",
    "train={steps: 2, seq_len: 1024, micro_batch_seqs: 2, evaluate_every: 2, checkpoint_every: 2}",
    "evaluation={max_validation_examples: 2}",
]
# Its tiny tokenizer spells Chinese in bytes.
LONG_ROWS = {"joint": ["train.seq_len=4096", "train.micro_batch_seqs=1", "tasks.cmrc.max_answer_tokens=400"]}


def test_all_recipes_are_known() -> None:
    assert [path.stem for path in OTHERS] == [
        "joint", "prose", "shakespeare-larger", "shakespeare", "trunk",
    ]  # fmt: skip
    assert [path.stem for path in PICTURES] == [f"image_tokenizer{kind}" for kind in ("-emoji", "-gpu", "-grey", "")]
    assert [path.stem for path in DRAWING] == [
        f"pictures-{kind}" for kind in ("cifar10-gpu", "cifar10", "emoji", "own-folder")
    ]
    assert [path.stem for path in READING] == ["pictures-read"]
    assert [path.stem for path in JUDGES] == [f"picture-judge{kind}" for kind in ("-emoji", "-own-folder", "")]
    assert [path.stem for path in CHILDREN] == [f"transfer-{way}" for way in ("continue", "full", "head", "lora")]
    assert [path.name for path in PACKAGED] == ["demo.yaml"]


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.stem)
def test_a_shipped_recipe_trains_a_picture_tokenizer(path: Path, tmp_path: Path) -> None:
    own = [f"data.train={write_tiny_npz(tmp_path / 'mine.npz')}"] if path.stem == "image_tokenizer-grey" else []
    if not own and data_directory() is None:
        pytest.skip("BANYAN_DATA is not set: this recipe learns from data sets of the catalog")
    tiny = ["minutes=null", "data.max_examples=24", "train.steps=1", "train.micro_batch_seqs=4"]
    recipe = read_picture_recipe(path, overrides=[*own, *tiny])
    outcome = train_picture_tokenizer(recipe, reporter=SilentReporter(), run_directory=tmp_path / "run")
    assert outcome.result.best_score is not None
    assert load_image_tokenizer(tmp_path / "run/best").image_size == outcome.material.image_size


@pytest.mark.parametrize("path", DRAWING, ids=lambda path: path.stem)
def test_a_shipped_recipe_draws_from_words(path: Path, tmp_path: Path) -> None:
    if path.stem == "pictures-emoji" and data_directory() is None:
        pytest.skip("BANYAN_DATA is not set: this recipe learns from a data set of the catalog")
    own = f"tasks.draw.data={{train: {write_tiny_npz(tmp_path / 'mine.npz', size=32)}, test_fraction: 0.1}}"
    changes = [] if path.stem == "pictures-emoji" else [own]
    changes += ["image_tokenizer={patch_size: 16, num_codes: 8}", "tasks.draw.data.max_examples=24"]
    outcome = train(
        read_config(Recipe, path, overrides=[*TINY, *changes]),
        reporter=SilentReporter(),
        run_directory=tmp_path / "run",
    )
    assert outcome.result.steps == 2 and outcome.material.image_tokenizer is not None
    taught = [outcome.material.sources[0][n] for n in range(len(outcome.material.sources[0]))]
    is_wishless = [outcome.material.vocabulary.null_id in one.token_ids for one in taught]
    assert 0 < sum(is_wishless) < len(taught) / 4


@pytest.mark.parametrize("path", READING, ids=lambda path: path.stem)
def test_a_shipped_recipe_reads_pictures(path: Path, tmp_path: Path) -> None:
    if data_directory() is None:
        pytest.skip("BANYAN_DATA is not set: this recipe learns from a data set of the catalog")
    changes = ["image_tokenizer={patch_size: 16, num_codes: 8}"]
    changes += [f"tasks.{name}.data.max_examples=8" for name in ("kind", "name")]
    outcome = train(
        read_config(Recipe, path, overrides=[*TINY, *changes]),
        reporter=SilentReporter(),
        run_directory=tmp_path / "run",
    )
    assert outcome.result.best_score is not None
    [kind, name] = (outcome.material.train[one] for one in ("kind", "name"))
    assert all(one.codes for one in (*kind, *name)) and any(one.text for one in kind)


@pytest.mark.parametrize("path", JUDGES, ids=lambda path: path.stem)
def test_a_shipped_recipe_trains_a_judge(path: Path, tmp_path: Path) -> None:
    own = f"data={{train: {write_tiny_npz(tmp_path / 'mine.npz')}, test_fraction: 0.2}}"
    recipe = read_judge_recipe(path, overrides=[own, "training.epochs=1", "width=8"])
    judge = train_judge_of(recipe, reporter=SilentReporter(), directory=tmp_path / "run")
    assert judge.description.labels == ("0", "1", "2") and judge.description.num_held_out > 0


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: path.stem)
def test_a_shipped_recipe_trains_and_scores_every_task(path: Path, tmp_path: Path) -> None:
    if data_directory() is None:
        pytest.skip("BANYAN_DATA is not set: this recipe learns from data sets of the catalog")
    tasks = {task["name"]: task["kind"] for task in read_mapping(path)["tasks"]}
    names = list(tasks)
    # a text may be a whole novel
    cuts = [f"tasks.{n}.data.max_examples={2 if kind == 'language_modeling' else 12}" for n, kind in tasks.items()]
    tiny = [*TINY, *LONG_ROWS.get(path.stem, ()), *cuts]
    outcome = train(
        read_config(Recipe, path, overrides=tiny), reporter=SilentReporter(), run_directory=tmp_path / "run"
    )
    assert outcome.result.steps == 2
    assert outcome.result.best_score is not None
    assert {task.name for task in outcome.material.tasks} == set(names)


@pytest.fixture(scope="module")
def tiny_trunk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trunk that the other recipes begin with, at a tiny size."""
    if data_directory() is None:
        pytest.skip("BANYAN_DATA is not set: this recipe learns from data sets of the catalog")
    cuts = [
        f"tasks.{name}.data.{cut}" for name in ("novels", "classics") for cut in ("max_examples=2", "validation=null")
    ]
    recipe = read_config(Recipe, ROOT / "recipes/trunk.yaml", overrides=[*TINY, *cuts])
    return train(recipe, reporter=SilentReporter(), run_directory=tmp_path_factory.mktemp("trunk")).run_directory


@pytest.mark.parametrize("path", CHILDREN, ids=lambda path: path.stem)
def test_a_shipped_recipe_that_begins_with_a_trunk_learns_its_tasks(
    path: Path, tiny_trunk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("banyan.workflows.forgetting._MAX_CHARACTERS", 2000)
    mapping = read_mapping(path)
    names = [task["name"] for task in mapping["tasks"]]
    tiny = [key for key in TINY if not key.startswith(("model", "tokenizer"))]
    cuts = [f"tasks.{name}.data.max_examples=12" for name in names]
    small = ["evaluation.max_test_examples=2", f"transfer.parent={tiny_trunk}"]
    if "replay" in mapping["transfer"]:
        small += ["transfer.replay.generated=4", "transfer.replay.max_new_tokens=8"]
    recipe = read_config(Recipe, path, overrides=[*tiny, *cuts, *small])
    outcome = train(recipe, reporter=SilentReporter(), run_directory=tmp_path / "run")
    assert outcome.result.steps == 2 and outcome.result.best_score is not None
    assert set(names) <= {task.name for task in outcome.material.tasks}
    assert (tmp_path / "run/report.md").is_file() == ("replay" in mapping["transfer"])


def test_the_packaged_demo_recipe_is_a_recipe() -> None:
    mapping = read_mapping(PACKAGED[0])
    recipe = config_from_mapping(Recipe, mapping, source="demo.yaml")
    assert len({task.kind for task in recipe.tasks}) == 8
    assert abs(sum(task.rate or 0 for task in recipe.tasks) - 1) < 1e-9
