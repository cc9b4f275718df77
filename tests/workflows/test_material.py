"""What a recipe needs before its first step, from rows on disk."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from banyan.core.config import config_from_mapping
from banyan.core.errors import CheckpointError, DataError
from banyan.core.types import Row
from banyan.tasks.classification import Classification
from banyan.tokenizers.bpe import BytePairTokenizer
from banyan.workflows.datasets import Splits
from banyan.workflows.material import Material, fingerprint_rows, gather_material
from banyan.workflows.parent import Parent, with_inherited_directions
from banyan.workflows.preparing import prepare
from banyan.workflows.recipe import Recipe
from banyan.workflows.reporter import SilentReporter
from banyan.workflows.training import TrainingOutcome

Gather = Callable[..., Material]


@pytest.fixture
def gather(tmp_path: Path) -> Gather:
    """Write rows, and gather the material of one task that learns them."""

    def run(kind: str, rows: list[Row], *, folder: str = "run", task: Any = None, **changes: Any) -> Material:
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        recipe = {
            "name": "x",
            "tokenizer": {"vocab_size": 260},
            "train": {"seq_len": 48},
            "tasks": [{"name": "it", "kind": kind, "data": {"train": str(path)}, **(task or {})}],
        }
        given = config_from_mapping(Recipe, recipe | changes)
        return gather_material(given, tmp_path / folder, reporter=SilentReporter())

    return run


def labelled(num: int) -> list[Row]:
    return [{"text": f"thing {n}", "label": "ab"[n % 2]} for n in range(num)]


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


def test_every_training_sequence_fits_a_row(tiny_run: TrainingOutcome, tiny_recipe: Recipe) -> None:
    for source in tiny_run.material.sources:
        assert all(len(source[number]) <= tiny_recipe.train.seq_len for number in range(len(source)))


def test_the_same_recipe_gives_the_same_sequences(gather: Gather) -> None:
    first, second = gather("classification", labelled(9)), gather("classification", labelled(9), folder="other")
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
    gather: Gather, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[int] = []
    train = BytePairTokenizer.train

    def count(texts: Any, *, vocab_size: int) -> BytePairTokenizer:
        trained.append(vocab_size)
        return train(texts, vocab_size=vocab_size)

    monkeypatch.setattr(BytePairTokenizer, "train", count)
    for size in (260, 260, 262):
        gather("classification", labelled(9), tokenizer={"vocab_size": size})
    gather("classification", labelled(10), tokenizer={"vocab_size": 262})
    assert trained == [260, 262, 262]


def test_a_corpus_is_cut_anew_for_another_tokenizer(gather: Gather, tmp_path: Path) -> None:
    rows: list[Row] = [{"text": f"the banyan the banyan {n}"} for n in range(9)]
    gather("language_modeling", rows)
    for name, size in (("plain", 256), ("learned", 262)):
        tokenizer = BytePairTokenizer.train((row["text"] for row in rows), vocab_size=size)
        (tmp_path / f"{name}.json").write_text(tokenizer.to_json())
    lengths = []
    for name in ("plain", "learned"):
        material = gather("language_modeling", rows, tokenizer={"path": str(tmp_path / f"{name}.json")})
        lengths.append(sum(len(material.sources[0][n]) for n in range(len(material.sources[0]))))
    assert lengths[0] > lengths[1]


def test_many_examples_are_rendered_at_the_first_start_alone(gather: Gather, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = labelled(500)
    first = gather("classification", rows).sources[0]
    with monkeypatch.context() as patch:
        patch.setattr(Classification, "prompt", None)
        again = gather("classification", rows).sources[0]
    other = gather("classification", [*rows[1:], {"text": "no thing", "label": "a"}]).sources[0]
    assert [again[n] for n in range(500)] == [first[n] for n in range(500)] != [other[n] for n in range(500)]


def test_a_tokenizer_file_that_cannot_be_read_is_named(gather: Gather, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"tokenizer\.path=.*tokenizer\.json: "):
        gather("classification", labelled(9), tokenizer={"path": str(tmp_path / "tokenizer.json")})


def test_the_sample_for_the_tokenizer_is_taken_from_all_tasks_in_turn(gather: Gather, tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    other.write_text("".join(json.dumps({"text": "wwwwwwww"}) + "\n" for _ in range(9)))
    second = {"name": "more", "kind": "language_modeling", "data": {"train": str(other)}}
    first = {"name": "it", "kind": "classification", "data": {"train": str(tmp_path / "rows.jsonl")}}
    material = gather(
        "classification", labelled(400), tokenizer={"vocab_size": 260, "max_training_bytes": 200}, tasks=[first, second]
    )
    assert len(material.vocabulary.encode("wwwwwwww")) < 8


def test_a_few_bad_rows_are_counted_and_many_refused(gather: Gather) -> None:
    good = labelled(200)
    assert gather("classification", [*good, {"text": "no label"}]).skipped == {"it": 1}
    with pytest.raises(DataError, match="task it cannot read 50 of 250 rows; row 201: the row has no 'label'"):
        gather("classification", [*good, *[{"text": f"no label {n}"} for n in range(50)]])


def test_a_held_out_row_that_cannot_be_read_is_named(gather: Gather, tmp_path: Path) -> None:
    (tmp_path / "test.jsonl").write_text('{"text": "x", "label": "a"}\n{"text": "y", "label": "new"}\n')
    data = {"train": str(tmp_path / "rows.jsonl"), "test": str(tmp_path / "test.jsonl")}
    with pytest.raises(DataError, match="test data: task it cannot read 1 of 2 rows; row 2: label 'new'"):
        gather("classification", labelled(9), task={"data": data})


def test_examples_that_cannot_fit_are_refused_with_what_to_change(gather: Gather) -> None:
    rows: list[Row] = [{"document": f"{n} " * 90, "summary": "short"} for n in range(9)]
    with pytest.raises(DataError, match="task it: 9 of 9 training examples do not fit 48 tokens") as caught:
        gather("summarization", rows, task={"truncate": False})
    assert caught.value.hint == "raise train.seq_len, or set max_source_tokens"


def test_both_directions_learn_every_row_twice(gather: Gather) -> None:
    rows: list[Row] = [{"translation": {"en": f"tree {n}", "de": f"Baum {n}"}} for n in range(8)]
    options = {"source_language": "en", "target_language": "de"}
    assert len(gather("translation", rows, task=options).sources[0]) == 8
    assert len(gather("translation", rows, task={**options, "both_directions": True}).sources[0]) == 16


def test_a_translation_remembers_its_directions_and_a_child_those_of_its_parent(gather: Gather) -> None:
    rows: list[Row] = [{"translation": {"en": f"tree {n}", "de": f"Baum {n}"}} for n in range(8)]
    material = gather("translation", rows, task={"both_directions": True})
    (own,) = material.known_tasks
    assert own.spec()["directions"] == ["de>en", "en>de"]
    parent = cast(Parent, SimpleNamespace(tasks={"it": dataclasses.replace(own, directions=("en>zh",))}))
    assert with_inherited_directions(own, parent).spec()["directions"] == ["de>en", "en>de", "en>zh"]
    unknown = cast(Parent, SimpleNamespace(tasks={"it": dataclasses.replace(own, directions=())}))
    assert with_inherited_directions(own, unknown).spec()["directions"] == []


def test_a_picture_is_learned_under_its_captions_and_now_and_then_without(gather: Gather) -> None:
    pixels = {"width": 4, "height": 4, "channels": 1}
    rows: list[Row] = [
        {"image": {**pixels, "pixels": [16 * (n + k) % 256 for k in range(16)]}, "text": ["one", "eins", "一"]}
        for n in range(8)
    ]
    material = gather("image_generation", rows, image_tokenizer={"num_codes": 8})
    sequences = [material.sources[0][n] for n in range(len(material.sources[0]))]
    without = [s for s in sequences if material.vocabulary.null_id in s.token_ids]
    assert (len(sequences), len(without)) == (8 * 3 + 3, 3)


def test_rates_of_the_recipe_win(tiny_recipe: Recipe, gather: Gather) -> None:
    task = {"rate": 1.0}
    assert gather("classification", labelled(9), task=task).rates == {"it": 1.0}
    assert dataclasses.replace(tiny_recipe.tasks[0], rate=0.5).rate == 0.5


def test_a_capped_epoch_makes_a_large_set_count_as_a_small_one(gather: Gather, tmp_path: Path) -> None:
    def task(name: str, **data: Any) -> dict[str, Any]:
        return {"name": name, "kind": "classification", "data": {"train": str(tmp_path / "rows.jsonl"), **data}}

    tasks = [task("small", max_examples=10), task("large", epoch_examples=10)]
    assert gather("classification", labelled(40), tasks=tasks).rates == {"small": 0.5, "large": 0.5}


def test_class_weights_lie_on_what_is_learned(gather: Gather) -> None:
    rows = [*labelled(30), *({"text": f"more {n}", "label": "a"} for n in range(30))]
    source = gather("classification", rows, task={"class_weights": "balanced"}).sources[0]
    weights = {max(source[index].loss_weights) for index in range(len(source))}
    assert sorted(weights) == pytest.approx([60 / (2 * 45), 60 / (2 * 15)])


def test_a_schedule_of_rates_begins_where_it_says(gather: Gather) -> None:
    mixture = {"schedule": [{"at": 0.0, "rates": {"it": 0.5}}]}
    material = gather("classification", labelled(20), mixture=mixture)
    assert material.plan is not None and material.rates == {"it": 1.0}


def test_a_tokenizer_can_be_named_by_its_folder(gather: Gather, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    own = BytePairTokenizer.train(["abc"], vocab_size=256)
    (tmp_path / "own/tokenizer.json").write_text(own.to_json())
    material = gather("classification", labelled(9), tokenizer={"path": str(tmp_path / "own")})
    assert material.vocabulary.text.vocab_size == 256


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A prepared corpus of a few texts, with the tokenizer that cut it."""
    notes = tmp_path / "notes"
    notes.mkdir()
    for number in range(6):
        (notes / f"{number}.txt").write_text(f"The banyan 榕树 has sent down root number {number}.\n", "utf-8")
    prepare([notes], tmp_path / "corpus", tokenizer=None, vocab_size=270, reporter=SilentReporter())
    return tmp_path / "corpus"


def shard_recipe(corpus: Path, **changes: Any) -> Recipe:
    task = {"name": "notes", "kind": "language_modeling", "data": {"train": str(corpus)}}
    return config_from_mapping(Recipe, {"name": "x", "train": {"seq_len": 48}, "tasks": [task], **changes})


def test_prepared_shards_are_learned_from_with_the_tokenizer_beside_them(corpus: Path, tmp_path: Path) -> None:
    material = gather_material(shard_recipe(corpus), tmp_path / "run", reporter=SilentReporter())
    (source,) = material.sources
    learned = {material.vocabulary.decode(source[index].targets) for index in range(len(source))}
    assert {text.strip() for text in learned} == {
        path.read_text("utf-8").strip() for path in (tmp_path / "notes").iterdir()
    }
    assert not (tmp_path / "run/corpus").exists()  # nothing was prepared a second time


def test_a_damaged_shard_is_refused_by_name(corpus: Path, tmp_path: Path) -> None:
    (shard,) = corpus.glob("*.shard")
    data = bytearray(shard.read_bytes())
    data[70] ^= 1
    shard.write_bytes(data)
    with pytest.raises(DataError, match=r"00000\.shard: CRC mismatch at offset 64"):
        gather_material(shard_recipe(corpus), tmp_path / "run", reporter=SilentReporter())


def test_shards_of_another_tokenizer_are_refused(corpus: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text(BytePairTokenizer.train(["other words"], vocab_size=280).to_json())
    recipe = shard_recipe(corpus, tokenizer={"path": str(other)})
    with pytest.raises(DataError, match="were cut by another tokenizer"):
        gather_material(recipe, tmp_path / "run", reporter=SilentReporter())
