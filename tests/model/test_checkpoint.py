import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from banyan.core.errors import CheckpointError, FileError
from banyan.core.model_directory import EXTRAS_FILE, WEIGHTS_FILE, new_model_directory, verify_manifest
from banyan.core.types import HeadKind, HeadSpec
from banyan.model.checkpoint import load_model, read_model_description, save_model
from banyan.model.presets import GPT2_SHAPE
from banyan.model.tensor_file import TensorFile
from banyan.model.tensor_writer import write_tensors
from banyan.testing.models import tiny_model, tiny_model_config

HEADS = [
    HeadSpec(name="area", kind=HeadKind.CLASSIFICATION, labels=("io", "文本")),
    HeadSpec(name="mood", kind=HeadKind.CLASSIFICATION, labels=("a", "b"), pooling="mean", ngram_buckets=24),
    HeadSpec(name="a.b/c", kind=HeadKind.SPAN),
    HeadSpec(name="answers", kind=HeadKind.SPAN, reads_matches=True),
]
SHAPES = {
    "qwen3": {},
    "gpt2": {**GPT2_SHAPE, "num_kv_heads": 4, "qk_norm": "none"},
    "untied": {"tie_embeddings": False, "logit_softcap": 5.0},
    "ours alone": {"norm": "layer", "norm_gain": False, "position": "learned", "activation": "relu2"},
}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    config = tiny_model_config(num_image_codes=16, grid_size=4)
    with new_model_directory(tmp_path / "model") as directory:
        save_model(tiny_model(config, HEADS), directory)
    return tmp_path / "model"


@pytest.mark.parametrize("shape", SHAPES)
def test_a_saved_model_comes_back_bit_for_bit(tmp_path: Path, shape: str) -> None:
    model = tiny_model(tiny_model_config(**SHAPES[shape], num_image_codes=16, grid_size=4), HEADS)
    save_model(model, tmp_path)
    loaded = load_model(tmp_path)
    assert (loaded.config, loaded.head_specs) == (model.config, model.head_specs)
    assert not loaded.training
    for (name, weight), (loaded_name, found) in zip(model.named_parameters(), loaded.named_parameters(), strict=True):
        assert name == loaded_name and torch.equal(weight, found) and found.requires_grad
    token_ids = torch.randint(0, 320, (2, 9))
    assert torch.equal(model(token_ids), loaded(token_ids))


def test_saving_twice_writes_the_same_bytes(tmp_path: Path) -> None:
    model = tiny_model(heads=HEADS)
    save_model(model, tmp_path / "one")
    save_model(load_model(tmp_path / "one"), tmp_path / "two")
    for file in sorted((tmp_path / "one").iterdir()):
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()


def test_a_model_of_words_alone_has_no_extras(tmp_path: Path) -> None:
    save_model(tiny_model(), tmp_path)
    assert not (tmp_path / EXTRAS_FILE).exists()
    load_model(tmp_path)


def test_the_files_stand_the_check_of_the_manifest(saved: Path) -> None:
    assert set(verify_manifest(saved)) >= {WEIGHTS_FILE, EXTRAS_FILE, "config.json", "model.json"}


def test_weights_keep_their_format_on_disk_and_take_the_one_asked_for(tmp_path: Path) -> None:
    save_model(tiny_model().to(torch.bfloat16), tmp_path)
    assert load_file(tmp_path / WEIGHTS_FILE)["model.norm.weight"].dtype == torch.bfloat16
    assert json.loads((tmp_path / "config.json").read_text())["torch_dtype"] == "bfloat16"
    assert load_model(tmp_path).dtype == torch.float32
    assert load_model(tmp_path, dtype=torch.bfloat16).dtype == torch.bfloat16


def test_special_ids_are_written_for_other_tools(tmp_path: Path) -> None:
    save_model(tiny_model(), tmp_path, bos_id=1, eos_ids=[2, 8], pad_id=0)
    generation = json.loads((tmp_path / "generation_config.json").read_text())
    assert generation == {"bos_token_id": 1, "eos_token_id": [2, 8], "pad_token_id": 0}
    assert json.loads((tmp_path / "config.json").read_text())["eos_token_id"] == 2


def test_a_directory_that_is_not_there_is_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="is not a model directory"):
        load_model(tmp_path / "gone")


@pytest.mark.parametrize("name", ["model.json", WEIGHTS_FILE, EXTRAS_FILE])
def test_a_missing_file_is_named(saved: Path, name: str) -> None:
    (saved / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        load_model(saved)


@pytest.mark.parametrize("name", ["model.json", WEIGHTS_FILE, EXTRAS_FILE])
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_a_truncated_file_is_named(saved: Path, name: str, kept: float) -> None:
    content = (saved / name).read_bytes()
    (saved / name).write_bytes(content[: int(kept * len(content))])
    with pytest.raises(CheckpointError, match=name) as error:
        load_model(saved)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"embed_dim": 64}, r"has shape \(304, 32\), but the config asks for \(304, 64\)"),
        ({"num_layers": 3}, r"lacks tensor model.layers.2\.\S+ and \d+ more"),
        ({"num_layers": 1}, r"holds tensor model.layers.1\.\S+ and \d+ more"),
        ({"num_layers": "two"}, "num_layers"),
        ({"num_layer": 2}, "unknown key"),
    ],
)
def test_weights_that_do_not_fit_the_config_are_named(saved: Path, changes: dict[str, object], words: str) -> None:
    description = json.loads((saved / "model.json").read_text())
    description["config"].update(changes)
    (saved / "model.json").write_text(json.dumps(description))
    with pytest.raises(CheckpointError, match=words) as error:
        load_model(saved)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", ["[]", "null", "{}", '{"config": {}, "heads": []}', '{"version": 9}', "{"])
def test_a_description_that_is_not_ours_is_refused(saved: Path, content: str) -> None:
    (saved / "model.json").write_text(content)
    with pytest.raises(CheckpointError, match="model.json") as error:
        read_model_description(saved)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "head",
    [
        *([], [[]], 5, None),
        {"name": "a", "kind": "span", "labels": [], "pooling": []},
        {"name": "a", "kind": "span", "labels": [], "reads_matches": 1},
        {"name": "a", "kind": "tagging", "labels": ["x"], "reads_matches": True},
        {"name": "a", "kind": "classification", "labels": ["x"], "ngram_buckets": -1},
        {"name": "a", "kind": "classification", "labels": ["x"], "ngram_buckets": True},
        {"name": "a", "kind": "classification", "labels": ["x"], "ngram_buckets": 1 << 40},
    ],
)
def test_a_head_that_cannot_be_read_is_refused(saved: Path, head: object) -> None:
    description = json.loads((saved / "model.json").read_text())
    (saved / "model.json").write_text(json.dumps({**description, "heads": [head]}))
    with pytest.raises(CheckpointError, match="model.json") as error:
        read_model_description(saved)
    assert "\n" not in str(error.value)


def test_a_head_that_says_nothing_of_n_grams_has_none(saved: Path) -> None:
    description = json.loads((saved / "model.json").read_text())
    for head in description["heads"]:
        del head["ngram_buckets"]
    (saved / "model.json").write_text(json.dumps(description))
    assert all(spec.ngram_buckets == 0 for spec in read_model_description(saved)[1])


def test_a_description_of_a_later_version_says_so(saved: Path) -> None:
    description = json.loads((saved / "model.json").read_text())
    (saved / "model.json").write_text(json.dumps({**description, "version": 2}))
    with pytest.raises(CheckpointError, match="version 2 .* reads version 1"):
        load_model(saved)


def test_a_tensor_with_other_rows_than_the_config_says_is_refused(saved: Path) -> None:
    tensors = load_file(saved / EXTRAS_FILE)
    save_file({**tensors, "grid_embedding.weight": torch.zeros(9, 32)}, saved / EXTRAS_FILE)
    with pytest.raises(CheckpointError, match=r"grid_embedding.weight has shape \(9, 32\)"):
        load_model(saved)


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("num_layers", 2**31, "the weights are .* tensors"),
        ("max_seq_len", 2**40, "at most 16777216"),
        ("lookback", 2**31, "at most 1024"),
        ("embed_dim", 2**62, "cannot be"),
        ("vocab_size", 10**30, "cannot be|not a model description"),
    ],
)
def test_a_description_of_an_endless_model_is_refused_before_it_is_built(
    tmp_path: Path, field: str, value: int, problem: str
) -> None:
    save_model(tiny_model(), tmp_path)
    description = json.loads((tmp_path / "model.json").read_text())
    description["config"][field] = value
    (tmp_path / "model.json").write_text(json.dumps(description))
    with pytest.raises(CheckpointError, match=problem):
        load_model(tmp_path)


def test_a_model_in_shards_is_loaded_as_one_in_a_single_file(saved: Path) -> None:
    whole, tensors = load_model(saved), TensorFile(saved / WEIGHTS_FILE)
    write_tensors(saved, "shards.safetensors", tensors, max_shard_bytes=20_000)
    index = json.loads((saved / "shards.safetensors.index.json").read_text())
    assert len(set(index["weight_map"].values())) > 1
    (saved / "shards.safetensors.index.json").rename(saved / f"{WEIGHTS_FILE}.index.json")
    (saved / WEIGHTS_FILE).unlink()
    for (name, weight), (_, found) in zip(whole.named_parameters(), load_model(saved).named_parameters(), strict=True):
        assert torch.equal(weight, found), name
