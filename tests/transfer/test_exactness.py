"""Imported models against the stock implementations they come from: random weights, tiny sizes, 1,000 tokens."""

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
)

from banyan.model.checkpoint import load_model, save_model
from banyan.model.kv_cache import KVCache
from banyan.model.transformer import Transformer
from banyan.transfer.formats import open_foreign
from banyan.transfer.model_files import write_model_files

NUM_TOKENS = 1000  # of 1,024: far past half the context
TOLERANCE = {"atol": 1e-4, "rtol": 0.0}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500_000.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 256,
}
SIZES = {
    "num_hidden_layers": 2,
    "hidden_size": 32,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 1024,
    "vocab_size": 251,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GPT2_SIZES = {"n_layer": 2, "n_embd": 32, "n_head": 4, "n_positions": 1024, "bos_token_id": 1, "eos_token_id": 2}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One configuration of one family."""

    config: type[PreTrainedConfig]
    changes: dict[str, Any] = field(default_factory=dict)

    def build(self) -> PreTrainedModel:
        sizes = GPT2_SIZES if self.config is GPT2Config else SIZES
        config = self.config(**{**sizes, **self.changes})
        model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
        return model


SLIDING = {"use_sliding_window": True, "sliding_window": 70, "max_window_layers": 0}
CASES = {
    "gpt2": Case(config=GPT2Config, changes={"vocab_size": 256}),
    "gpt2, odd vocabulary, own width inside": Case(config=GPT2Config, changes={"vocab_size": 257, "n_inner": 56}),
    "gpt2, untied": Case(config=GPT2Config, changes={"vocab_size": 256, "tie_word_embeddings": False}),
    "llama 2: all heads, untied": Case(config=LlamaConfig, changes={"num_key_value_heads": 4}),
    "llama 3: grouped heads, rope scaling, tied": Case(
        config=LlamaConfig, changes={"rope_parameters": LLAMA3_ROPE, "tie_word_embeddings": True}
    ),
    "llama, biases and wide heads": Case(
        config=LlamaConfig, changes={"attention_bias": True, "mlp_bias": True, "head_dim": 16}
    ),
    "mistral, window shorter than the text": Case(config=MistralConfig, changes={"sliding_window": 70}),
    "mistral, no window, wide heads": Case(config=MistralConfig, changes={"sliding_window": None, "head_dim": 16}),
    "mistral, window, wide heads": Case(
        config=MistralConfig, changes={"sliding_window": 129, "head_dim": 16, "num_key_value_heads": 1}
    ),
    "qwen 2, untied": Case(config=Qwen2Config),
    "qwen 2, tied, all heads": Case(
        config=Qwen2Config, changes={"tie_word_embeddings": True, "num_key_value_heads": 4, "vocab_size": 320}
    ),
    "qwen 2, window": Case(config=Qwen2Config, changes=SLIDING),
    "qwen 3, wide heads, tied": Case(config=Qwen3Config, changes={"head_dim": 16, "tie_word_embeddings": True}),
    "qwen 3, narrow heads, untied, biases": Case(config=Qwen3Config, changes={"head_dim": 4, "attention_bias": True}),
    "qwen 3, window, all heads": Case(config=Qwen3Config, changes={"head_dim": 8, "num_key_value_heads": 4, **SLIDING}),
}


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A stock model, its directory, what it computes, and our import of it."""

    source: Path
    directory: Path
    stock: PreTrainedModel
    ours: Transformer
    token_ids: Tensor
    expected: Tensor


def bring_in(source: Path, directory: Path) -> None:
    directory.mkdir()
    write_model_files(open_foreign(source), directory)


@pytest.fixture(scope="module", params=CASES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    source, directory = tmp_path_factory.mktemp("stock"), tmp_path_factory.mktemp("ours") / "model"
    stock = CASES[request.param].build()
    stock.save_pretrained(source)
    bring_in(source, directory)
    token_ids = torch.randint(0, stock.config.vocab_size, (1, NUM_TOKENS), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = stock(token_ids).logits
    return Pair(
        source=source,
        directory=directory,
        stock=stock,
        ours=load_model(directory),
        token_ids=token_ids,
        expected=expected,
    )


def assert_the_same(found: Tensor, expected: Tensor) -> None:
    assert expected.std() > 0.1  # the comparison means something
    torch.testing.assert_close(found, expected, **TOLERANCE)
    assert torch.equal(found.argmax(-1), expected.argmax(-1))


@torch.no_grad()
def test_a_thousand_tokens_get_the_logits_of_the_stock_model(pair: Pair) -> None:
    assert_the_same(pair.ours.logits(pair.ours(pair.token_ids)), pair.expected)


@torch.no_grad()
def test_a_thousand_tokens_get_the_same_logits_through_the_cache(pair: Pair) -> None:
    cache = KVCache(pair.ours.config, num_slots=2)
    chunks = pair.token_ids.split((600, 3, *[1] * 20, 377), dim=1)
    hidden = torch.cat([pair.ours(chunk, cache=cache.rows([1])) for chunk in chunks], dim=1)
    assert_the_same(pair.ours.logits(hidden), pair.expected)


@torch.no_grad()
@pytest.mark.parametrize("side", ["left", "right"])
def test_rows_of_a_padded_batch_get_the_same_logits(pair: Pair, side: str) -> None:
    token_ids, is_real = pair.token_ids.view(2, 500), torch.ones(2, 500, dtype=torch.int64)
    is_real[1, slice(0, 180) if side == "left" else slice(320, 500)] = 0
    position_ids = (is_real.cumsum(1) - 1).clamp(min=0)
    expected = pair.stock(token_ids, attention_mask=is_real, position_ids=position_ids).logits[is_real > 0]
    hidden = pair.ours(token_ids, position_ids_BT=position_ids, segment_ids_BT=is_real - 1)
    assert_the_same(pair.ours.logits(hidden)[is_real > 0], expected)


def test_tensors_are_byte_identical_after_import_and_after_being_saved_again(pair: Pair, tmp_path: Path) -> None:
    save_model(pair.ours, tmp_path)
    original = load_file(pair.source / "model.safetensors")
    for directory in (pair.directory, tmp_path):
        assert_same_bytes(load_file(directory / "model.safetensors"), original)


def assert_same_bytes(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape)
        assert torch.equal(found[name].view(torch.uint8), tensor.view(torch.uint8)), name


def test_the_stock_implementation_opens_what_was_imported(pair: Pair) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again = AutoModelForCausalLM.from_pretrained(pair.directory, attn_implementation="eager").eval()
    with torch.no_grad():
        assert torch.equal(again(pair.token_ids[:, :200]).logits, pair.stock(pair.token_ids[:, :200]).logits)


@pytest.mark.parametrize("name", ["gpt2", "llama 3: grouped heads, rope scaling, tied", "qwen 2, untied"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_width_weights_stay_as_they_are_through_import_and_saving(
    name: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    CASES[name].build().to(dtype).save_pretrained(tmp_path / "stock")
    bring_in(tmp_path / "stock", tmp_path / "ours")
    save_model(load_model(tmp_path / "ours", dtype=dtype), tmp_path / "again")
    original = load_file(tmp_path / "stock" / "model.safetensors")
    assert {tensor.dtype for tensor in original.values()} == {dtype}
    for directory in ("ours", "again"):
        assert_same_bytes(load_file(tmp_path / directory / "model.safetensors"), original)
    assert load_model(tmp_path / "ours").dtype == torch.float32
