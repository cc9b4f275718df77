"""What a recipe needs before its first step, from rows on disk."""

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from banyan.core.errors import CheckpointError
from banyan.core.types import Row
from banyan.testing.material import Gatherer, labelled_rows
from banyan.tokenizers.bpe import BytePairTokenizer
from banyan.workflows.datasets import Splits
from banyan.workflows.material import fingerprint_rows
from banyan.workflows.parent import Parent, with_inherited_directions
from banyan.workflows.recipe import Recipe
from banyan.workflows.training import TrainingOutcome


def splits(**rows: tuple[Row, ...]) -> Splits:
    return Splits(**{"train": (), "validation": (), "test": (), "described_by": (), **rows})


def test_every_task_has_a_source_a_rate_and_examples(tiny_run: TrainingOutcome, tiny_recipe: Recipe) -> None:
    material = tiny_run.material
    names = [task.name for task in tiny_recipe.tasks]
    assert [task.name for task in material.tasks] == [source.task for source in material.sources] == names
    assert list(material.train) == list(material.validation) == list(material.test) == names
    assert sum(material.rates.values()) == pytest.approx(1.0)
    assert all(len(source) > 0 for source in material.sources)
    assert list(material.pictures) == ["image_generation"]
    assert all(example.codes is not None for example in material.test["image_generation"])


def test_the_same_recipe_gives_the_same_sequences(gather: Gatherer) -> None:
    first, second = (gather("classification", labelled_rows(9), folder=folder) for folder in ("run", "other"))
    assert first.fingerprint == second.fingerprint
    assert [first.sources[0][n] for n in range(9)] == [second.sources[0][n] for n in range(9)]


def test_the_fingerprint_changes_with_every_row_and_its_place() -> None:
    a, b = {"text": "a"}, {"text": "b"}
    prints = {
        fingerprint_rows({"t": splits(train=(a, b))}),
        fingerprint_rows({"t": splits(train=(b, a))}),
        fingerprint_rows({"t": splits(train=(a,), test=(b,))}),
        fingerprint_rows({"t": splits(train=(a,), validation=(b,))}),
        fingerprint_rows({"u": splits(train=(a, b))}),
        fingerprint_rows({"t": splits(train=({"text": "ab"},))}),
        fingerprint_rows({"t": splits(train=({"image": b"1"},))}),
        fingerprint_rows({"t": splits(train=({"image": b"2"},))}),
    }
    assert len(prints) == 8


def test_a_tokenizer_that_was_trained_is_reused_until_something_changes(
    gather: Gatherer, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[int] = []
    train = BytePairTokenizer.train

    def count(texts: Any, *, vocab_size: int) -> BytePairTokenizer:
        trained.append(vocab_size)
        return train(texts, vocab_size=vocab_size)

    monkeypatch.setattr(BytePairTokenizer, "train", count)
    for size in (260, 260, 262):
        gather("classification", labelled_rows(9), tokenizer={"vocab_size": size})
    gather("classification", labelled_rows(10), tokenizer={"vocab_size": 262})
    assert trained == [260, 262, 262]


def test_a_tokenizer_file_that_cannot_be_read_is_named(gather: Gatherer, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"tokenizer\.path=.*tokenizer\.json: "):
        gather("classification", labelled_rows(9), tokenizer={"path": str(tmp_path / "tokenizer.json")})


def test_the_sample_for_the_tokenizer_is_taken_from_all_tasks_in_turn(gather: Gatherer, tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    other.write_text("".join(json.dumps({"text": "wwwwwwww"}) + "\n" for _ in range(9)))
    second = {"name": "more", "kind": "language_modeling", "data": {"train": str(other)}}
    first = {"name": "it", "kind": "classification", "data": {"train": str(tmp_path / "rows.jsonl")}}
    material = gather(
        "classification",
        labelled_rows(400),
        tokenizer={"vocab_size": 260, "max_training_bytes": 200},
        tasks=[first, second],
    )
    assert len(material.vocabulary.encode("wwwwwwww")) < 8


def test_a_translation_remembers_its_directions_and_a_child_those_of_its_parent(gather: Gatherer) -> None:
    rows: list[Row] = [{"translation": {"en": f"tree {n}", "de": f"Baum {n}"}} for n in range(8)]
    material = gather("translation", rows, task={"both_directions": True})
    (own,) = material.known_tasks
    assert own.spec()["directions"] == ["de>en", "en>de"]
    parent = cast(Parent, SimpleNamespace(tasks={"it": dataclasses.replace(own, directions=("en>zh",))}))
    assert with_inherited_directions(own, parent).spec()["directions"] == ["de>en", "en>de", "en>zh"]
    unknown = cast(Parent, SimpleNamespace(tasks={"it": dataclasses.replace(own, directions=())}))
    assert with_inherited_directions(own, unknown).spec()["directions"] == []


def test_rates_of_the_recipe_win(tiny_recipe: Recipe, gather: Gatherer) -> None:
    task = {"rate": 1.0}
    assert gather("classification", labelled_rows(9), task=task).rates == {"it": 1.0}
    assert dataclasses.replace(tiny_recipe.tasks[0], rate=0.5).rate == 0.5


def test_a_capped_epoch_makes_a_large_set_count_as_a_small_one(gather: Gatherer, tmp_path: Path) -> None:
    def task(name: str, **data: Any) -> dict[str, Any]:
        return {"name": name, "kind": "classification", "data": {"train": str(tmp_path / "rows.jsonl"), **data}}

    tasks = [task("small", max_examples=10), task("large", epoch_examples=10)]
    assert gather("classification", labelled_rows(40), tasks=tasks).rates == {"small": 0.5, "large": 0.5}


def test_a_schedule_of_rates_begins_where_it_says(gather: Gatherer) -> None:
    mixture = {"schedule": [{"at": 0.0, "rates": {"it": 0.5}}]}
    material = gather("classification", labelled_rows(20), mixture=mixture)
    assert material.plan is not None and material.rates == {"it": 1.0}


def test_a_tokenizer_can_be_named_by_its_folder(gather: Gatherer, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    own = BytePairTokenizer.train(["abc"], vocab_size=256)
    (tmp_path / "own/tokenizer.json").write_text(own.to_json())
    material = gather("classification", labelled_rows(9), tokenizer={"path": str(tmp_path / "own")})
    assert material.vocabulary.text.vocab_size == 256
