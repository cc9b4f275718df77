import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from banyan.core.errors import CheckpointError
from banyan.model.checkpoint import load_model, save_model
from banyan.model.presets import GPT2_SHAPE, LLAMA_SHAPE
from banyan.model.transformer import Transformer
from banyan.testing.models import tiny_model, tiny_model_config
from banyan.transfer.formats import open_foreign
from banyan.transfer.model_files import write_model_files

WEIGHTS = "model.safetensors"
SHAPES = {
    "gpt2": {**GPT2_SHAPE, "num_kv_heads": 4, "qk_norm": "none"},
    "llama": {**LLAMA_SHAPE, "qk_norm": "none"},
    "llama untied": {**LLAMA_SHAPE, "qk_norm": "none", "tie_embeddings": False},
}
Change = Callable[[dict[str, Tensor]], dict[str, Tensor]]


def stock_directory(path: Path, shape: str = "llama", *, change: Change | None = None) -> Transformer:
    """Write a directory as another tool has it, and return the model that it holds."""
    model = tiny_model(tiny_model_config(**SHAPES[shape]))
    save_model(model, path, bos_id=1, eos_ids=[2], pad_id=0)
    (path / "model.json").unlink()
    if change is not None:
        save_file(change(load_file(path / WEIGHTS)), path / WEIGHTS)
    return model


def imported(source: Path, directory: Path) -> Transformer:
    directory.mkdir()
    write_model_files(open_foreign(source), directory)
    return load_model(directory)


def assert_equal(found: Transformer, expected: Transformer) -> None:
    token_ids = torch.arange(20)[None]
    assert found.config == expected.config
    assert torch.equal(found(token_ids), expected(token_ids))


def without_prefix(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix("transformer.").removeprefix("model."): tensor for name, tensor in tensors.items()}


def with_buffers(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    names = ("transformer.h.0.attn.bias", "transformer.h.1.attn.masked_bias", "h.0.attn.bias")
    rope = ("model.layers.0.self_attn.rotary_emb.inv_freq", "model.rotary_emb.inv_freq")
    return tensors | {name: torch.ones(3) for name in (*names, *rope)}


def with_head(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    name = "transformer.wte.weight" if "transformer.wte.weight" in tensors else "model.embed_tokens.weight"
    return tensors | {"lm_head.weight": tensors[name].clone()}


def with_head_alone(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        n: t for n, t in with_head(tensors).items() if n not in ("transformer.wte.weight", "model.embed_tokens.weight")
    }


@pytest.mark.parametrize("shape", ["gpt2", "llama"])
@pytest.mark.parametrize("change", [without_prefix, with_buffers, with_head, with_head_alone])
def test_other_names_tables_and_a_second_copy_of_the_head_change_nothing(
    tmp_path: Path, shape: str, change: Change
) -> None:
    model = stock_directory(tmp_path / "stock", shape, change=change)
    assert_equal(imported(tmp_path / "stock", tmp_path / "ours"), model)


def test_what_is_left_out_is_named(tmp_path: Path) -> None:
    stock_directory(tmp_path, "gpt2", change=lambda tensors: with_head(with_buffers(tensors)))
    left_out = open_foreign(tmp_path).left_out
    assert "lm_head.weight" in left_out and "transformer.h.0.attn.bias" in left_out and len(left_out) == 6


def into_shards(path: Path, *, num_shards: int = 3) -> dict[str, str]:
    tensors = load_file(path / WEIGHTS)
    (path / WEIGHTS).unlink()
    names = sorted(tensors)
    file_of = {name: f"model-{i % num_shards:05}.safetensors" for i, name in enumerate(names)}
    for file in set(file_of.values()):
        save_file({name: tensors[name] for name in names if file_of[name] == file}, path / file)
    (path / f"{WEIGHTS}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": file_of}))
    return file_of


def test_shards_are_read_as_one_file_is(tmp_path: Path) -> None:
    model = stock_directory(tmp_path / "stock")
    into_shards(tmp_path / "stock")
    assert_equal(imported(tmp_path / "stock", tmp_path / "ours"), model)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    stock_directory(tmp_path)
    into_shards(tmp_path)
    (tmp_path / "model-00001.safetensors").unlink()
    with pytest.raises(CheckpointError, match="model-00001.safetensors cannot be read: No such file"):
        open_foreign(tmp_path)


@pytest.mark.parametrize("place", ["../other.safetensors", "/etc/passwd", "sub/x.safetensors", "..", "model.bin", 7])
def test_an_index_that_leads_elsewhere_is_refused(tmp_path: Path, place: object) -> None:
    stock_directory(tmp_path)
    file_of = into_shards(tmp_path)
    index = {"weight_map": {**file_of, "model.norm.weight": place}}
    (tmp_path / f"{WEIGHTS}.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="index|shard"):
        open_foreign(tmp_path)


def test_an_index_that_does_not_fit_its_shards_is_refused(tmp_path: Path) -> None:
    stock_directory(tmp_path)
    file_of = into_shards(tmp_path)
    del file_of["model.norm.weight"]
    (tmp_path / f"{WEIGHTS}.index.json").write_text(json.dumps({"weight_map": file_of}))
    with pytest.raises(CheckpointError, match="does not fit .*index.json: it holds tensor model.norm.weight"):
        open_foreign(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: {n: v for n, v in t.items() if n != "model.norm.weight"}, "lacks tensor model.norm.weight"),
        (lambda t: {**t, "score.weight": torch.ones(2, 2)}, "holds tensor score.weight, which the config does not"),
        (lambda t: {**t, "model.norm.weight": torch.ones(31)}, r"model.norm.weight has shape \(31,\)"),
        (lambda t: {**t, "model.norm.weight": torch.ones(32, dtype=torch.int32)}, "holds I32"),
        (lambda t: {**t, "model.norm.weight": torch.ones(32).to(torch.float8_e4m3fn)}, "holds F8_E4M3"),
        (lambda t: {**t, "norm.weight": torch.ones(32)}, "holds model.norm.weight twice"),
        (lambda t: {**t, "lm_head.weight": torch.ones(320, 32)}, "lm_head.weight differs from model.embed_tokens"),
        (lambda t: {**t, "model.layers.2.mlp.up_proj.weight": torch.ones(2)}, "holds tensor model.layers.2"),
    ],
)
def test_tensors_that_do_not_fit_are_refused_by_name(tmp_path: Path, change: Change, words: str) -> None:
    stock_directory(tmp_path, change=change)
    with pytest.raises(CheckpointError, match=words) as error:
        open_foreign(tmp_path)
    assert "\n" not in str(error.value)


def test_a_head_that_the_config_says_is_its_own_must_be_there(tmp_path: Path) -> None:
    stock_directory(tmp_path, "llama untied", change=lambda t: {n: v for n, v in t.items() if n != "lm_head.weight"})
    with pytest.raises(CheckpointError, match=r"lacks tensor lm_head.weight"):
        open_foreign(tmp_path)


@pytest.mark.parametrize("field", ["num_hidden_layers", "max_position_embeddings", "hidden_size", "vocab_size"])
def test_a_config_of_an_endless_model_is_refused_before_it_is_built(tmp_path: Path, field: str) -> None:
    stock_directory(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, field: 2**30}))
    with pytest.raises(CheckpointError, match="config"):
        open_foreign(tmp_path)


@pytest.mark.parametrize("header", [2**62, 2**40, 10**7, 0])
def test_a_hostile_length_of_header_is_refused(tmp_path: Path, header: int) -> None:
    stock_directory(tmp_path)
    content = (tmp_path / WEIGHTS).read_bytes()
    (tmp_path / WEIGHTS).write_bytes(header.to_bytes(8, "little") + content[8:])
    with pytest.raises(CheckpointError, match="truncated or corrupt"):
        open_foreign(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "generation_config.json"])
@pytest.mark.parametrize("content", ["[]", "{", "null", '"x"'])
def test_a_config_that_is_no_json_object_is_refused(tmp_path: Path, name: str, content: str) -> None:
    stock_directory(tmp_path)
    (tmp_path / name).write_text(content)
    with pytest.raises(CheckpointError, match=name):
        open_foreign(tmp_path)


@pytest.mark.parametrize("name", [WEIGHTS, "config.json", "tokenizer.json"])
def test_a_link_that_leaves_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    stock_directory(tmp_path / "stock")
    outside = tmp_path / "outside"
    outside.write_bytes((tmp_path / "stock" / name).read_bytes() if name != "tokenizer.json" else b"{}")
    (tmp_path / "stock" / name).unlink(missing_ok=True)
    (tmp_path / "stock" / name).symlink_to(outside)
    with pytest.raises(CheckpointError, match="is a link that leaves the folder"):
        open_foreign(tmp_path / "stock")


def test_links_into_the_blobs_of_a_hugging_face_cache_are_followed(tmp_path: Path) -> None:
    snapshot, blobs = tmp_path / "snapshots" / "abc", tmp_path / "blobs"
    stock_directory(snapshot)
    blobs.mkdir()
    for path in list(snapshot.iterdir()):
        path.rename(blobs / path.name)
        path.symlink_to(Path("../../blobs") / path.name)
    assert open_foreign(snapshot).config.architecture == "llama"


def test_the_configs_of_generation_are_carried_over(tmp_path: Path) -> None:
    stock_directory(tmp_path / "stock")
    generation = {"eos_token_id": [2, 9], "temperature": 0.6, "do_sample": True}
    (tmp_path / "stock" / "generation_config.json").write_text(json.dumps(generation))
    imported(tmp_path / "stock", tmp_path / "ours")
    assert json.loads((tmp_path / "ours" / "generation_config.json").read_text()) == generation


def test_special_ids_are_made_into_one_where_there_is_none(tmp_path: Path) -> None:
    stock_directory(tmp_path / "stock")
    (tmp_path / "stock" / "generation_config.json").unlink()
    imported(tmp_path / "stock", tmp_path / "ours")
    expected = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    assert json.loads((tmp_path / "ours" / "generation_config.json").read_text()) == expected


def test_a_model_of_ours_needs_no_import(tmp_path: Path) -> None:
    stock_directory(tmp_path)
    (tmp_path / "banyan.json").write_text("{}")
    with pytest.raises(CheckpointError, match="is a Banyan model already"):
        open_foreign(tmp_path)


def test_an_adapter_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="holds adapters, not a model"):
        open_foreign(tmp_path, format="hugging_face")
