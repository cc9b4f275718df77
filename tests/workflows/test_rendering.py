"""What is learned and scored on, from the rows of every kind of task."""

from pathlib import Path
from typing import Any

import pytest

from banyan.core.config import config_from_mapping
from banyan.core.errors import DataError
from banyan.core.types import Row
from banyan.tasks.classification import Classification
from banyan.testing.material import Gatherer, labelled_rows
from banyan.tokenizers.bpe import BytePairTokenizer
from banyan.workflows.material import gather_material
from banyan.workflows.preparing import prepare
from banyan.workflows.recipe import Recipe
from banyan.workflows.reporter import SilentReporter
from banyan.workflows.training import TrainingOutcome


def test_every_training_sequence_fits_a_row(tiny_run: TrainingOutcome, tiny_recipe: Recipe) -> None:
    for source in tiny_run.material.sources:
        assert all(len(source[number]) <= tiny_recipe.train.seq_len for number in range(len(source)))


def test_a_corpus_is_cut_anew_for_another_tokenizer(gather: Gatherer, tmp_path: Path) -> None:
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


def test_many_examples_are_rendered_at_the_first_start_alone(gather: Gatherer, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = labelled_rows(500)
    first = gather("classification", rows).sources[0]
    with monkeypatch.context() as patch:
        patch.setattr(Classification, "prompt", None)
        again = gather("classification", rows).sources[0]
    other = gather("classification", [*rows[1:], {"text": "no thing", "label": "a"}]).sources[0]
    assert [again[n] for n in range(500)] == [first[n] for n in range(500)] != [other[n] for n in range(500)]


def test_a_few_bad_rows_are_counted_and_many_refused(gather: Gatherer) -> None:
    good = labelled_rows(200)
    assert gather("classification", [*good, {"text": "no label"}]).skipped == {"it": 1}
    with pytest.raises(DataError, match="task it cannot read 50 of 250 rows; row 201: the row has no 'label'"):
        gather("classification", [*good, *[{"text": f"no label {n}"} for n in range(50)]])


def test_a_held_out_row_that_cannot_be_read_is_named(gather: Gatherer, tmp_path: Path) -> None:
    (tmp_path / "test.jsonl").write_text('{"text": "x", "label": "a"}\n{"text": "y", "label": "new"}\n')
    data = {"train": str(tmp_path / "rows.jsonl"), "test": str(tmp_path / "test.jsonl")}
    with pytest.raises(DataError, match="test data: task it cannot read 1 of 2 rows; row 2: label 'new'"):
        gather("classification", labelled_rows(9), task={"data": data})


def test_examples_that_cannot_fit_are_refused_with_what_to_change(gather: Gatherer) -> None:
    rows: list[Row] = [{"document": f"{n} " * 90, "summary": "short"} for n in range(9)]
    with pytest.raises(DataError, match="task it: 9 of 9 training examples do not fit 48 tokens") as caught:
        gather("summarization", rows, task={"truncate": False})
    assert caught.value.hint == "raise train.seq_len, or set max_source_tokens"


def test_both_directions_learn_every_row_twice(gather: Gatherer) -> None:
    rows: list[Row] = [{"translation": {"en": f"tree {n}", "de": f"Baum {n}"}} for n in range(8)]
    options = {"source_language": "en", "target_language": "de"}
    assert len(gather("translation", rows, task=options).sources[0]) == 8
    assert len(gather("translation", rows, task={**options, "both_directions": True}).sources[0]) == 16


def test_a_picture_is_learned_under_its_captions_and_now_and_then_without(gather: Gatherer) -> None:
    pixels = {"width": 4, "height": 4, "channels": 1}
    rows: list[Row] = [
        {"image": {**pixels, "pixels": [16 * (n + k) % 256 for k in range(16)]}, "text": ["one", "eins", "一"]}
        for n in range(8)
    ]
    material = gather("image_generation", rows, image_tokenizer={"num_codes": 8})
    sequences = [material.sources[0][n] for n in range(len(material.sources[0]))]
    without = [s for s in sequences if material.vocabulary.null_id in s.token_ids]
    assert (len(sequences), len(without)) == (8 * 3 + 3, 3)


def test_class_weights_lie_on_what_is_learned(gather: Gatherer) -> None:
    rows = [*labelled_rows(30), *({"text": f"more {n}", "label": "a"} for n in range(30))]
    source = gather("classification", rows, task={"class_weights": "balanced"}).sources[0]
    weights = {max(source[index].loss_weights) for index in range(len(source))}
    assert sorted(weights) == pytest.approx([60 / (2 * 45), 60 / (2 * 15)])


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
