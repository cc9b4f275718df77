import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from banyan.core.errors import CheckpointError
from banyan.model.config import ModelConfig, RopeScaling
from banyan.model.hugging_face_config import hugging_face_config, stock_architecture
from banyan.model.presets import (
    GPT2_SHAPE,
    LLAMA_SHAPE,
    MISTRAL_SHAPE,
    QWEN2_SHAPE,
    QWEN3_SHAPE,
    Preset,
    model_config,
)
from banyan.testing.models import tiny_model_config
from banyan.transfer.foreign_config import ARCHITECTURES, ForeignConfig, read_foreign_config

GPT2 = {"model_type": "gpt2", "n_layer": 2, "n_head": 4, "n_embd": 32, "vocab_size": 300, "n_positions": 64}
LLAMA = {
    "model_type": "llama",
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "hidden_size": 32,
    "intermediate_size": 96,
    "vocab_size": 300,
    "max_position_embeddings": 64,
}
SHAPES: dict[str, Preset] = {
    "gpt2": {**GPT2_SHAPE, "num_kv_heads": 4, "qk_norm": "none"},
    "llama": {**LLAMA_SHAPE, "qk_norm": "none", "rope_scaling": {"factor": 8.0, "original_max_seq_len": 16}},
    "mistral": {**MISTRAL_SHAPE, "qk_norm": "none", "head_dim": 16, "sliding_window": 7},
    "qwen2": {**QWEN2_SHAPE, "qk_norm": "none", "sliding_window": 5},
    "qwen3": {**QWEN3_SHAPE, "head_dim": 16, "attention_bias": True, "output_bias": True},
}


def read(fields: dict[str, Any], **changes: Any) -> ForeignConfig:
    return read_foreign_config({**fields, **changes}, source="config.json")


def qwen(kind: str, **changes: Any) -> ModelConfig:
    return read(LLAMA, model_type=kind, num_key_value_heads=2, **changes).model


@pytest.mark.parametrize("architecture", SHAPES)
def test_what_we_write_is_read_back_as_it_was(architecture: str) -> None:
    config = tiny_model_config(**SHAPES[architecture])
    assert stock_architecture(config) == architecture
    fields = hugging_face_config(config, dtype="float32", bos_id=1, eos_id=[2, 3], pad_id=None)
    found = read_foreign_config(fields, source="config.json")
    assert found.model == config
    assert (found.architecture, found.bos_id, found.eos_ids, found.pad_id) == (architecture, 1, (2, 3), None)
    assert found.ignored == ()


def test_every_architecture_that_we_write_is_read() -> None:
    assert set(ARCHITECTURES) == set(SHAPES)


@pytest.mark.parametrize("fields", [{}, {"model_type": "gemma2"}, {"model_type": "qwen2_moe"}, {"model_type": None}])
def test_an_unknown_architecture_is_refused_by_its_name(fields: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match="model_type"):
        read_foreign_config(fields, source="config.json")


@pytest.mark.parametrize("name", [name for name in LLAMA if name != "model_type"])
def test_a_missing_size_is_named(name: str) -> None:
    with pytest.raises(CheckpointError, match=f"{name} is missing"):
        read_foreign_config({key: value for key, value in LLAMA.items() if key != name}, source="config.json")


@pytest.mark.parametrize(
    ("fields", "changes"),
    [
        (GPT2, {"activation_function": "relu"}),
        (GPT2, {"activation_function": "gelu"}),
        (GPT2, {"scale_attn_weights": False}),
        (GPT2, {"scale_attn_by_inverse_layer_idx": True}),
        (GPT2, {"add_cross_attention": True}),
        (LLAMA, {"hidden_act": "gelu"}),
        (LLAMA, {"partial_rotary_factor": 0.5}),
        (LLAMA, {"num_local_experts": 8}),
        (LLAMA, {"quantization_config": {"bits": 4}}),
        (LLAMA, {"attn_logit_softcapping": 50.0}),
        (LLAMA, {"logit_scale": 0.25}),
        (LLAMA, {"auto_map": {"AutoModelForCausalLM": "modeling.Mine"}}),
        (LLAMA, {"rope_scaling": {"rope_type": "linear", "factor": 2.0}}),
        (LLAMA, {"rope_scaling": {"type": "dynamic", "factor": 2.0}}),
        (LLAMA, {"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "rope_theta": 1e4}}),
        (LLAMA, {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}}),
        (LLAMA, {"rope_parameters": {"full_attention": {"rope_theta": 1e4}, "sliding_attention": {}}}),
        (LLAMA, {"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}),
        (LLAMA, {"rope_scaling": {"rope_type": "default"}, "rope_parameters": {"rope_type": "llama3"}}),
        (LLAMA, {"rope_scaling": [2.0]}),
        ({**LLAMA, "model_type": "mistral"}, {"layer_types": ["full_attention", "sliding_attention"]}),
        ({**LLAMA, "model_type": "qwen2"}, {"layer_types": ["full_attention", "sliding_attention"]}),
        ({**LLAMA, "model_type": "qwen3"}, {"layer_types": ["linear_attention"] * 2}),
        ({**LLAMA, "model_type": "qwen3"}, {"layer_types": ["sliding_attention"] * 2}),
        ({**LLAMA, "model_type": "qwen2"}, {"use_sliding_window": True, "max_window_layers": 1}),
        (LLAMA, {"hidden_size": 30}),
        (LLAMA, {"num_key_value_heads": 3}),
        (LLAMA, {"head_dim": 7}),
        (LLAMA, {"num_hidden_layers": 0}),
        (LLAMA, {"rms_norm_eps": 0}),
        (LLAMA, {"tie_word_embeddings": "yes"}),
    ],
)
def test_what_cannot_be_computed_is_refused_in_one_line(fields: dict[str, Any], changes: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match="config.json") as error:
        read({**fields, "num_key_value_heads": 2} if fields is not GPT2 else fields, **changes)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["linear", "dynamic", "yarn", "longrope"])
def test_a_scaling_that_is_not_ours_is_refused_by_its_name(kind: str) -> None:
    with pytest.raises(CheckpointError, match=f"its type is '{kind}', and of the scalings Banyan computes llama3"):
        read(LLAMA, rope_scaling={"rope_type": kind, "factor": 2.0})


def test_the_old_and_the_new_way_of_writing_rope_mean_the_same() -> None:
    scaling = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 16}
    old = read(LLAMA, rope_theta=5e5, rope_scaling={"type": "llama3", **scaling}).model
    new = read(LLAMA, rope_parameters={"rope_theta": 5e5, "rope_type": "llama3", **scaling}).model
    assert old == new
    assert (old.rope_theta, old.rope_scaling) == (5e5, RopeScaling(factor=8.0, original_max_seq_len=16))
    assert read(LLAMA, rope_parameters={"rope_theta": 7e4, "rope_type": "default"}).model.rope_theta == 7e4
    assert read(LLAMA).model.rope_theta == 10_000.0


@pytest.mark.parametrize(
    ("changes", "window"),
    [
        ({}, None),
        ({"use_sliding_window": False, "sliding_window": 131072, "max_window_layers": 28}, None),  # as Qwen2.5 has it
        ({"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 0}, 9),
        ({"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 2}, None),
        ({"use_sliding_window": True, "sliding_window": 9, "layer_types": ["sliding_attention"] * 2}, 9),
        ({"use_sliding_window": True, "sliding_window": 9, "layer_types": ["full_attention"] * 2}, None),
    ],
)
@pytest.mark.parametrize("kind", ["qwen2", "qwen3"])
def test_the_window_of_qwen_counts_where_its_layers_have_it(
    kind: str, changes: dict[str, Any], window: int | None
) -> None:
    assert qwen(kind, **changes).sliding_window == window


def test_what_a_file_leaves_out_takes_the_default_of_its_family() -> None:
    mistral = {**LLAMA, "model_type": "mistral", "num_attention_heads": 16, "hidden_size": 64}
    assert read(mistral).model.sliding_window == 4096
    assert read(mistral).model.num_kv_heads == 8
    assert read(mistral, sliding_window=None).model.sliding_window is None
    assert qwen("qwen3").head_dim == 128
    assert read(GPT2).model.tie_embeddings and not read(LLAMA).model.tie_embeddings
    assert read(GPT2, n_inner=None).model.ffn_dim == 128


def test_special_ids_beyond_the_vocabulary_are_left_out() -> None:
    found = read(GPT2, bos_token_id=50256, eos_token_id=[7, 50256, -1, None, True])
    assert (found.bos_id, found.eos_ids) == (None, (7,))


def test_fields_of_no_matter_are_silent_and_unknown_ones_are_named() -> None:
    found = read(LLAMA, transformers_version="4.40", torch_dtype="bfloat16", _name_or_path="x", mystery=1, another=2)
    assert found.ignored == ("another", "mystery")


# The files as their makers published them.
PUBLISHED = {
    "gpt2": """{"activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"], "attn_pdrop": 0.1,
        "bos_token_id": 50256, "embd_pdrop": 0.1, "eos_token_id": 50256, "initializer_range": 0.02,
        "layer_norm_epsilon": 1e-05, "model_type": "gpt2", "n_ctx": 1024, "n_embd": 768, "n_head": 12, "n_layer": 12,
        "n_positions": 1024, "resid_pdrop": 0.1, "summary_activation": null, "summary_first_dropout": 0.1,
        "summary_proj_to_labels": true, "summary_type": "cls_index", "summary_use_proj": true,
        "task_specific_params": {"text-generation": {"do_sample": true, "max_length": 50}}, "vocab_size": 50257}""",
    "mistral-7b": """{"architectures": ["MistralForCausalLM"], "bos_token_id": 1, "eos_token_id": 2,
        "hidden_act": "silu", "hidden_size": 4096, "initializer_range": 0.02, "intermediate_size": 14336,
        "max_position_embeddings": 32768, "model_type": "mistral", "num_attention_heads": 32,
        "num_hidden_layers": 32, "num_key_value_heads": 8, "rms_norm_eps": 1e-05, "rope_theta": 10000.0,
        "sliding_window": 4096, "tie_word_embeddings": false, "torch_dtype": "bfloat16",
        "transformers_version": "4.34.0.dev0", "use_cache": true, "vocab_size": 32000}""",
    "qwen2.5-0.5b": """{"architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 151643,
        "eos_token_id": 151643, "hidden_act": "silu", "hidden_size": 896, "initializer_range": 0.02,
        "intermediate_size": 4864, "max_position_embeddings": 32768, "max_window_layers": 24, "model_type": "qwen2",
        "num_attention_heads": 14, "num_hidden_layers": 24, "num_key_value_heads": 2, "rms_norm_eps": 1e-06,
        "rope_theta": 1000000.0, "sliding_window": 32768, "tie_word_embeddings": true, "torch_dtype": "bfloat16",
        "transformers_version": "4.40.1", "use_cache": true, "use_mrope": false, "use_sliding_window": false,
        "vocab_size": 151936}""",
    "qwen3-0.6b": """{"architectures": ["Qwen3ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
        "bos_token_id": 151643, "eos_token_id": 151645, "head_dim": 128, "hidden_act": "silu", "hidden_size": 1024,
        "initializer_range": 0.02, "intermediate_size": 3072, "max_position_embeddings": 40960,
        "max_window_layers": 28, "model_type": "qwen3", "num_attention_heads": 16, "num_hidden_layers": 28,
        "num_key_value_heads": 8, "rms_norm_eps": 1e-06, "rope_scaling": null, "rope_theta": 1000000,
        "sliding_window": null, "tie_word_embeddings": true, "torch_dtype": "bfloat16",
        "transformers_version": "4.51.0", "use_cache": true, "use_sliding_window": false, "vocab_size": 151936}""",
    "llama-3.2-1b": """{"architectures": ["LlamaForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
        "bos_token_id": 128000, "eos_token_id": [128001, 128008, 128009], "head_dim": 64, "hidden_act": "silu",
        "hidden_size": 2048, "initializer_range": 0.02, "intermediate_size": 8192, "max_position_embeddings": 131072,
        "mlp_bias": false, "model_type": "llama", "num_attention_heads": 32, "num_hidden_layers": 16,
        "num_key_value_heads": 8, "pretraining_tp": 1, "rms_norm_eps": 1e-05, "rope_scaling": {"factor": 32.0,
        "high_freq_factor": 4.0, "low_freq_factor": 1.0, "original_max_position_embeddings": 8192,
        "rope_type": "llama3"}, "rope_theta": 500000.0, "tie_word_embeddings": true, "torch_dtype": "bfloat16",
        "transformers_version": "4.45.0.dev0", "use_cache": true, "vocab_size": 128256}""",
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_config_gives_the_preset_of_its_name(name: str) -> None:
    found = read_foreign_config(json.loads(PUBLISHED[name]), source=name)
    assert found.model == model_config(name, {})
    assert found.ignored == ()


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_no_value_of_any_field_is_more_than_a_line_of_error(data: st.DataObject) -> None:
    fields = json.loads(PUBLISHED[data.draw(st.sampled_from(sorted(PUBLISHED)))])
    names = [*fields, "rope_parameters", "layer_types", "head_dim", "n_inner", "quantization_config", "sliding_window"]
    fields |= {name: data.draw(JSON_VALUES) for name in data.draw(st.lists(st.sampled_from(names), max_size=3))}
    try:
        read_foreign_config(fields, source="config.json")
    except CheckpointError as error:
        assert "\n" not in str(error)
