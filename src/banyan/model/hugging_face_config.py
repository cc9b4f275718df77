"""Which stock architecture a model has, and the `config.json` other tools read it with."""

from __future__ import annotations

from typing import Any

from banyan.model.config import ModelConfig

_CLASSES = {
    "gpt2": "GPT2LMHeadModel",
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}


def stock_architecture(config: ModelConfig) -> str | None:
    """Return the Hugging Face architecture that computes exactly what this config says, or None."""
    if config.logit_softcap or config.lookback:
        return None
    if _is_gpt2(config):
        return "gpt2"
    if not _is_llama_like(config):
        return None
    biases = (config.attention_bias, config.output_bias)
    has_window = config.sliding_window is not None
    if config.qk_norm == "gain":
        return "qwen3" if biases[0] == biases[1] and not config.ffn_bias else None
    if config.qk_norm == "plain":
        return None
    if biases == (True, False) and not config.ffn_bias and config.head_dim * config.num_heads == config.embed_dim:
        return "qwen2"
    if has_window:
        return "mistral" if not any(biases) and not config.ffn_bias else None
    return "llama" if biases[0] == biases[1] else None


def _is_gpt2(config: ModelConfig) -> bool:
    return (
        (config.norm, config.position, config.activation) == ("layer", "learned", "gelu_tanh")
        and config.norm_gain
        and config.norm_bias
        and all((config.attention_bias, config.output_bias, config.ffn_bias))
        and config.qk_norm == "none"
        and config.num_kv_heads == config.num_heads
        and config.head_dim * config.num_heads == config.embed_dim
        and config.sliding_window is None
    )


def _is_llama_like(config: ModelConfig) -> bool:
    shape = (config.norm, config.position, config.activation)
    return shape == ("rms", "rope", "swiglu") and config.norm_gain and not config.norm_bias


def hugging_face_config(
    config: ModelConfig, *, dtype: str, bos_id: int | None, eos_id: int | list[int] | None, pad_id: int | None
) -> dict[str, Any]:
    """Return the content of `config.json`; image codes are left out, for no stock architecture has them."""
    architecture = stock_architecture(config)
    common = {
        "vocab_size": config.text_vocab_size,
        "tie_word_embeddings": config.tie_embeddings,
        "bos_token_id": bos_id,
        "eos_token_id": eos_id,
        "pad_token_id": pad_id,
        "torch_dtype": dtype,
    }
    if architecture is None:
        return {"model_type": "banyan", "architectures": ["Transformer"], **common}
    known_as = {"model_type": architecture, "architectures": [_CLASSES[architecture]]}
    if architecture == "gpt2":
        return {**known_as, **_gpt2_fields(config), **common}
    return {**known_as, **_llama_fields(config), **_FIELDS_OF[architecture](config), **common}


def _gpt2_fields(config: ModelConfig) -> dict[str, Any]:
    return {
        "n_layer": config.num_layers,
        "n_head": config.num_heads,
        "n_embd": config.embed_dim,
        "n_inner": config.ffn_dim,
        "n_positions": config.max_seq_len,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": config.norm_eps,
        "resid_pdrop": config.dropout,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
    }


def _llama_fields(config: ModelConfig) -> dict[str, Any]:
    return {
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "hidden_size": config.embed_dim,
        "head_dim": config.head_dim,
        "intermediate_size": config.ffn_dim,
        "max_position_embeddings": config.max_seq_len,
        "hidden_act": "silu",
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rope_theta,
        "rope_scaling": _rope_scaling(config),
        "attention_dropout": 0.0,
    }


def _rope_scaling(config: ModelConfig) -> dict[str, Any] | None:
    if config.rope_scaling is None:
        return None
    return {
        "rope_type": "llama3",
        "factor": config.rope_scaling.factor,
        "low_freq_factor": config.rope_scaling.low_freq_factor,
        "high_freq_factor": config.rope_scaling.high_freq_factor,
        "original_max_position_embeddings": config.rope_scaling.original_max_seq_len,
    }


def _llama_switches(config: ModelConfig) -> dict[str, Any]:
    return {"attention_bias": config.attention_bias, "mlp_bias": config.ffn_bias}


def _mistral_switches(config: ModelConfig) -> dict[str, Any]:
    return {"sliding_window": config.sliding_window}


def _qwen2_switches(config: ModelConfig) -> dict[str, Any]:
    has_window = config.sliding_window is not None
    # Layers from `max_window_layers` on use the window: ours is one window for all.
    layers = 0 if has_window else config.num_layers
    return {
        "use_sliding_window": has_window,
        "sliding_window": config.sliding_window,
        "max_window_layers": layers,
    }


def _qwen3_switches(config: ModelConfig) -> dict[str, Any]:
    return {"attention_bias": config.attention_bias, **_qwen2_switches(config)}


_FIELDS_OF = {
    "llama": _llama_switches,
    "mistral": _mistral_switches,
    "qwen2": _qwen2_switches,
    "qwen3": _qwen3_switches,
}
