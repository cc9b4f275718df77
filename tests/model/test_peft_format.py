"""Adapters on disk: `peft` reads ours, ours reads theirs, and what is no plain LoRA is refused in one line."""

from __future__ import annotations

import dataclasses
import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from banyan.core.errors import CheckpointError, FileError
from banyan.core.types import HeadKind, HeadSpec
from banyan.model.checkpoint import load_model, save_model
from banyan.model.lora import LoraConfig, add_adapters, low_rank_pairs
from banyan.model.ngrams import ReadTokens
from banyan.model.peft_format import load_adapter, restore_adapter, save_adapter
from banyan.model.transformer import Transformer
from banyan.testing.adapters import give_random_adapter
from banyan.testing.models import tiny_model, tiny_model_config

GPT2 = {
    "norm": "layer",
    "norm_bias": True,
    "norm_eps": 1e-5,
    "position": "learned",
    "activation": "gelu_tanh",
    "attention_bias": True,
    "output_bias": True,
    "ffn_bias": True,
    "qk_norm": "none",
    "num_kv_heads": 4,
}
LLAMA = {"qk_norm": "none"}
SKY = HeadSpec(name="sky", kind=HeadKind.CLASSIFICATION, labels=("sun", "moon"))
IDS = torch.arange(40).reshape(2, 20) * 7 % 320
CASES: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
    ("qwen3, all", {}, ("all",)),
    ("qwen3, queries and values", {}, ("q", "v")),
    ("qwen2, gate", {"qk_norm": "none", "attention_bias": True}, ("gate", "k")),
    ("llama, attention", LLAMA, ("attention",)),
    ("mistral, feed-forward", {**LLAMA, "sliding_window": 8}, ("feed_forward",)),
    ("gpt2, all", GPT2, ("all",)),
    ("gpt2, way back alone", GPT2, ("output",)),
    ("gpt2, qkv and down", GPT2, ("qkv", "down")),
]


def logits(model: Transformer, **arguments: Any) -> Tensor:
    with torch.no_grad():
        return model.logits(model(IDS, **arguments))


def peft_model(base: Path, adapter: Path | None = None, **config: Any) -> Any:
    """Open a model directory in transformers, with an adapter from disk, or a fresh random one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other people's code
        import peft
        import transformers

        plain = transformers.AutoModelForCausalLM.from_pretrained(base)
        if adapter is not None:
            return peft.PeftModel.from_pretrained(plain, adapter).eval()
        torch.manual_seed(0)
        adapted = peft.get_peft_model(plain, peft.LoraConfig(task_type="CAUSAL_LM", **config))
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.1)
        return adapted.eval()


def peft_logits(model: Any) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(IDS).logits
    return found


@pytest.fixture
def base(tmp_path: Path) -> Path:
    save_model(tiny_model(), tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture
def adapter(tmp_path: Path, base: Path) -> Path:
    """An adapter folder as `peft` would leave it: two files."""
    model = load_model(base)
    give_random_adapter(model, "a")
    save_adapter(model, "a", tmp_path / "adapter", base=str(base))
    (tmp_path / "adapter/model.json").unlink()
    return tmp_path / "adapter"


@pytest.mark.parametrize(("shape", "targets"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_peft_answers_under_our_adapter_as_we_do(
    tmp_path: Path, shape: dict[str, Any], targets: tuple[str, ...]
) -> None:
    model = tiny_model(tiny_model_config(**shape))
    save_model(model, tmp_path / "base")
    give_random_adapter(model, "a", targets=targets, std=0.2)
    save_adapter(model, "a", tmp_path / "adapter", base=str(tmp_path / "base"))
    ours = logits(model, adapters_B=["a", "a"])
    theirs = peft_logits(peft_model(tmp_path / "base", tmp_path / "adapter"))
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
    assert not torch.allclose(ours, logits(model), atol=1e-2)


@pytest.mark.parametrize(
    ("shape", "config"),
    [
        ({}, {"r": 4, "lora_alpha": 16, "target_modules": ["q_proj", "v_proj"]}),
        (LLAMA, {"r": 3, "lora_alpha": 5, "target_modules": "all-linear"}),
        (GPT2, {"r": 4, "lora_alpha": 8, "target_modules": ["c_attn"], "fan_in_fan_out": True}),
        (GPT2, {"r": 2, "lora_alpha": 8, "target_modules": ["mlp.c_proj", "c_fc"], "fan_in_fan_out": True}),
    ],
    ids=["qwen3, usual", "llama, all-linear", "gpt2, usual", "gpt2, feed-forward"],
)
def test_we_answer_under_their_adapter_as_peft_does(
    tmp_path: Path, shape: dict[str, Any], config: dict[str, Any]
) -> None:
    save_model(tiny_model(tiny_model_config(**shape)), tmp_path / "base")
    theirs = peft_model(tmp_path / "base", **config)
    theirs.save_pretrained(tmp_path / "adapter")
    model = load_model(tmp_path / "base")
    load_adapter(model, tmp_path / "adapter", name="theirs")
    torch.testing.assert_close(logits(model, adapters_B=["theirs"] * 2), peft_logits(theirs), atol=1e-4, rtol=0)


def test_an_adapter_comes_back_from_disk_bit_by_bit_with_its_heads(tmp_path: Path, base: Path) -> None:
    model = load_model(base)
    wide = dataclasses.replace(SKY, ngram_buckets=16)
    reader = HeadSpec(name="answers", kind=HeadKind.SPAN, reads_matches=True)
    give_random_adapter(model, "a", heads=[wide, reader])
    save_adapter(model, "a", tmp_path / "a", base=str(base))
    other = load_model(base)
    stored = load_adapter(other, tmp_path / "a", name="b")
    assert stored.heads == (wide, reader)
    assert torch.equal(logits(other, adapters_B=["b", "b"]), logits(model, adapters_B=["a", "a"]))
    hidden, tokens = torch.ones(1, 32), ReadTokens.of_rows(torch.tensor([[1, 2, 3]]))
    ours, theirs = ((model, "a"), (other, "b"))
    first, second = (m.head_logits("sky", hidden, adapter=name, tokens=tokens) for m, name in (ours, theirs))
    assert torch.equal(first, second)
    hidden, tokens = torch.ones(4, 32), ReadTokens.of_rows(torch.tensor([[1, 2, 1, 2]]), context=(2, 3))
    first, second = (m.head_logits("answers", hidden, adapter=name, tokens=tokens) for m, name in (ours, theirs))
    assert torch.equal(first, second) and not torch.equal(first[1], first[2])
    assert not any(p.requires_grad for pair in low_rank_pairs(other, "b").values() for p in pair.parameters())


def test_a_folder_of_an_adapter_is_small(tmp_path: Path, base: Path, adapter: Path) -> None:
    sizes = {path: sum(file.stat().st_size for file in path.iterdir()) for path in (base, adapter)}
    assert sizes[adapter] < sizes[base] / 3


def test_a_run_takes_up_its_adapter_and_heads_again(tmp_path: Path) -> None:
    def fresh() -> Transformer:
        model = tiny_model(heads=[SKY])
        add_adapters(model, LoraConfig(rank=4), generator=torch.Generator().manual_seed(5))
        return model

    model = fresh()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape))
    save_adapter(model, "default", tmp_path, base="base")
    resumed = fresh()
    restore_adapter(resumed, tmp_path, name="default")
    states = zip(model.state_dict().items(), resumed.state_dict().items(), strict=True)
    assert all(name == other and torch.equal(a, b) for (name, a), (other, b) in states)


@pytest.mark.parametrize("change", [{"rank": 2}, {"alpha": 1.0}, {"targets": ("qkv",)}], ids=str)
def test_a_run_does_not_go_on_with_an_adapter_of_another_shape(tmp_path: Path, change: dict[str, Any]) -> None:
    model, other = tiny_model(), tiny_model()
    add_adapters(model, LoraConfig(rank=4), generator=torch.Generator())
    save_adapter(model, "default", tmp_path, base="base")
    add_adapters(other, LoraConfig(**{"rank": 4, **change}), generator=torch.Generator())
    with pytest.raises(CheckpointError, match="an adapter of another shape than this recipe"):
        restore_adapter(other, tmp_path, name="default")


def test_an_adapter_of_another_model_is_refused(tmp_path: Path, base: Path) -> None:
    other = tiny_model(tiny_model_config(max_seq_len=32))
    give_random_adapter(other, "a")
    save_adapter(other, "a", tmp_path / "a", base="elsewhere")
    with pytest.raises(CheckpointError, match="that of another model"):
        load_adapter(load_model(base), tmp_path / "a", name="a")


Damage = Callable[[Path], None]


def setting(**changes: Any) -> Damage:
    def damage(folder: Path) -> None:
        path = folder / "adapter_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return damage


def tensors(change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> Damage:
    def damage(folder: Path) -> None:
        path = folder / "adapter_model.safetensors"
        save_file(change(load_file(path)), path)

    return damage


def without_one(found: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in found.items() if name != sorted(found)[3]}


def as_pickle(folder: Path) -> None:
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")


KEY = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
DAMAGES: dict[str, tuple[Damage, str]] = {
    "rslora": (setting(use_rslora=True), "use_rslora='True'"),
    "dora": (setting(use_dora=True), "use_dora='True'"),
    "another method": (setting(peft_type="LOHA"), "peft_type='LOHA'"),
    "ranks by layer": (setting(rank_pattern={"q_proj": 2}), "rank_pattern="),
    "biases": (setting(bias="all"), "bias='all'"),
    "whole layers": (setting(modules_to_save=["lm_head"]), "modules_to_save="),
    "a start that changes the matrices": (setting(init_lora_weights="pissa"), "init_lora_weights='pissa'"),
    "a kind nobody knows yet": (setting(use_something_new=True), "use_something_new='True'"),
    "no rank": (setting(r=None), "r='None' is not a number"),
    "a rank that is text": (setting(r="8"), "r='8' is not a number"),
    "a rank beyond all bounds": (setting(r=10**9), "rank=1000000000"),
    "half a rank": (setting(r=2.5), "r=2.5 is not a whole number"),
    "another rank than the tensors": (setting(r=5), r"has shape \(4, 32\)"),
    "alpha that is true": (setting(lora_alpha=True), "lora_alpha='True' is not a number"),
    "a list for a config": (lambda f: (f / "adapter_config.json").write_text("[]") and None, "must be a JSON object"),
    "half a config": (lambda f: (f / "adapter_config.json").write_text("{") and None, "adapter_config.json"),
    "a missing tensor": (tensors(without_one), "lacks tensor"),
    "no tensors": (tensors(lambda _: {}), "holds no tensors"),
    "a tensor too many": (tensors(lambda t: {**t, "base_model.model.lm_head.lora_A.weight": t[KEY] + 1}), "no matrix"),
    "a narrower tensor": (tensors(lambda t: {**t, KEY: t[KEY][:, :5].clone()}), r"has shape \(4, 5\)"),
    "whole numbers": (tensors(lambda t: {**t, KEY: t[KEY].int()}), "floating point"),
    "half a file": (
        lambda f: (
            (f / "adapter_model.safetensors").write_bytes((f / "adapter_model.safetensors").read_bytes()[:300]) and None
        ),
        "truncated or corrupt",
    ),
    "a pickle": (as_pickle, "pickle file"),
    "no weights": (lambda f: (f / "adapter_model.safetensors").unlink(), "is missing"),
}


@pytest.mark.parametrize(("damage", "words"), DAMAGES.values(), ids=DAMAGES)
def test_what_is_no_plain_lora_is_refused_in_one_line_and_the_model_stays(
    adapter: Path, base: Path, damage: Damage, words: str
) -> None:
    damage(adapter)
    model = load_model(base)
    names = [name for name, _ in model.named_parameters()]
    with pytest.raises(CheckpointError, match=words) as caught:
        load_adapter(model, adapter, name="a")
    assert "\n" not in caught.value.message and caught.value.exit_code == 4
    assert [name for name, _ in model.named_parameters()] == names and not model.adapters


def test_a_folder_that_is_not_there_is_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="nowhere is not an adapter's folder"):
        load_adapter(tiny_model(), tmp_path / "nowhere", name="a")


def test_a_model_that_carries_an_adapter_is_not_saved_as_if_it_did_not(tmp_path: Path) -> None:
    model = tiny_model()
    give_random_adapter(model, "a")
    with pytest.raises(ValueError, match="carries the adapter a"):
        save_model(model, tmp_path / "model")
    shutil.rmtree(tmp_path / "model", ignore_errors=True)
