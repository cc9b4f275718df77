"""Our Transformer against the implementations of Hugging Face, on random weights: logits equal to 1e-4 in float32."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from banyan.core.config import config_to_mapping
from banyan.core.files import atomic_write_json
from banyan.model.checkpoint import load_model, save_model
from banyan.model.config import ModelConfig
from banyan.model.hugging_face_config import hugging_face_config
from banyan.model.kv_cache import KVCache
from banyan.model.presets import GPT2_SHAPE, LLAMA_SHAPE, MISTRAL_SHAPE, QWEN2_SHAPE, QWEN3_SHAPE, Preset
from banyan.model.transformer import Transformer
from banyan.testing.models import tiny_model, tiny_model_config

ROPE_SCALING = {"factor": 8.0, "original_max_seq_len": 16}
SHAPES: dict[str, Preset] = {
    "gpt2": {**GPT2_SHAPE, "num_kv_heads": 4},
    "llama-2": {**LLAMA_SHAPE, "num_kv_heads": 4, "rope_theta": 10_000.0, "tie_embeddings": False},
    "llama-3": {**LLAMA_SHAPE, "rope_scaling": ROPE_SCALING},
    "llama-biases": {**LLAMA_SHAPE, "attention_bias": True, "output_bias": True, "ffn_bias": True},
    "mistral": {**MISTRAL_SHAPE, "sliding_window": 7},
    "qwen2": QWEN2_SHAPE,
    "qwen2-window": {**QWEN2_SHAPE, "sliding_window": 7},
    "qwen3": {**QWEN3_SHAPE, "head_dim": 16},
    "qwen3-untied": {**QWEN3_SHAPE, "tie_embeddings": False, "attention_bias": True, "output_bias": True},
}
TOLERANCE = {"atol": 1e-4, "rtol": 0.0}


def config_of(shape: str) -> ModelConfig:
    return tiny_model_config(**{"qk_norm": "none", **SHAPES[shape]})


def random_ids(*shape: int) -> Tensor:
    return torch.randint(0, 300, shape, generator=torch.Generator().manual_seed(0))


def foreign_model(config: ModelConfig) -> PreTrainedModel:
    """Build the stock model that our config.json describes, with every weight random."""
    fields = hugging_face_config(config, dtype="float32", bos_id=None, eos_id=None, pad_id=None)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**fields), attn_implementation="eager").eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model


def imported_from(foreign: PreTrainedModel, config: ModelConfig, directory: Path) -> Transformer:
    """Load the stock model's own tensors, under its own names, into ours."""
    tensors = {name: tensor.contiguous() for name, tensor in foreign.state_dict().items()}
    if config.tie_embeddings:
        del tensors["lm_head.weight"]
    save_file(tensors, directory / "model.safetensors")
    atomic_write_json(directory / "model.json", {"version": 1, "config": config_to_mapping(config), "heads": []})
    return load_model(directory)


def next_token_loss(logits: Tensor, token_ids: Tensor) -> Tensor:
    return torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), token_ids[:, 1:].flatten())


@pytest.fixture(params=SHAPES)
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Transformer, PreTrainedModel]:
    config = config_of(request.param)
    foreign = foreign_model(config)
    return imported_from(foreign, config, tmp_path), foreign


@torch.no_grad()
def test_logits_equal_those_of_the_stock_architecture(pair: tuple[Transformer, PreTrainedModel]) -> None:
    ours, foreign = pair
    token_ids = random_ids(3, 48)
    expected = foreign(token_ids).logits
    assert expected.std() > 0.1  # the comparison means something
    torch.testing.assert_close(ours.logits(ours(token_ids)), expected, **TOLERANCE)


@torch.no_grad()
def test_logits_equal_with_a_cache_on_our_side_alone(pair: tuple[Transformer, PreTrainedModel]) -> None:
    ours, foreign = pair
    token_ids = random_ids(2, 24)
    cache = KVCache(ours.config, num_slots=3)
    chunks = token_ids.split((9, 5, *[1] * 10), dim=1)
    hidden = torch.cat([ours(chunk, cache=cache.rows([0, 2])) for chunk in chunks], dim=1)
    torch.testing.assert_close(ours.logits(hidden), foreign(token_ids).logits, **TOLERANCE)


@torch.no_grad()
@pytest.mark.parametrize("side", ["left", "right"])
def test_logits_of_padded_rows_are_equal(pair: tuple[Transformer, PreTrainedModel], side: str) -> None:
    ours, foreign = pair
    token_ids, is_real = random_ids(2, 20), torch.ones(2, 20, dtype=torch.int64)
    is_real[1, slice(0, 6) if side == "left" else slice(14, 20)] = 0
    position_ids = (is_real.cumsum(1) - 1).clamp(min=0)
    expected = foreign(token_ids, attention_mask=is_real, position_ids=position_ids).logits
    hidden = ours(token_ids, position_ids_BT=position_ids, segment_ids_BT=is_real - 1)
    torch.testing.assert_close(ours.logits(hidden)[is_real > 0], expected[is_real > 0], **TOLERANCE)


@torch.no_grad()
def test_logits_of_a_packed_row_are_those_of_its_parts(pair: tuple[Transformer, PreTrainedModel]) -> None:
    ours, foreign = pair
    parts = [random_ids(1, length) for length in (11, 4, 9)]
    hidden = ours(
        torch.cat(parts, dim=1),
        position_ids_BT=torch.cat([torch.arange(part.shape[1]) for part in parts])[None],
        segment_ids_BT=torch.cat([torch.full((part.shape[1],), i) for i, part in enumerate(parts)])[None],
    )
    expected = torch.cat([foreign(part).logits for part in parts], dim=1)
    torch.testing.assert_close(ours.logits(hidden), expected, **TOLERANCE)


def test_gradients_equal_those_of_the_stock_architecture(pair: tuple[Transformer, PreTrainedModel]) -> None:
    ours, foreign = pair
    token_ids = random_ids(2, 16)
    next_token_loss(ours.logits(ours(token_ids)), token_ids).backward()
    next_token_loss(foreign(token_ids).logits, token_ids).backward()
    expected = foreign.get_input_embeddings().weight.grad
    torch.testing.assert_close(ours.embedding.weight.grad, expected, atol=1e-5, rtol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("shape", SHAPES)
def test_a_directory_we_wrote_opens_in_transformers_with_equal_logits(shape: str, tmp_path: Path) -> None:
    changes = {**config_to_mapping(config_of(shape)), "vocab_size": 340, "num_image_codes": 20, "grid_size": 4}
    model = tiny_model(tiny_model_config(**changes))
    save_model(model, tmp_path)
    foreign = AutoModelForCausalLM.from_pretrained(tmp_path, attn_implementation="eager").eval()
    token_ids = random_ids(2, 24)
    torch.testing.assert_close(foreign(token_ids).logits, model.logits(model(token_ids)), **TOLERANCE)
    assert foreign.config.vocab_size == 320
