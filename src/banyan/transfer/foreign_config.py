"""Reading the `config.json` of a stock architecture, strictly: what changes the computation is expressed or refused.

Fields that nobody here knows change nothing in the stock implementations either; they are named, so that a person can
look at them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from banyan.core.errors import BanyanError, CheckpointError
from banyan.model.config import ModelConfig, RopeScaling
from banyan.transfer.fields import Fields

_NONE = (None, False, 0, 0.0)
# Fields of relatives of these architectures, with the values at which they change nothing.
_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "quantization_config": _NONE,
    "compression_config": _NONE,
    "auto_map": _NONE,
    "is_encoder_decoder": _NONE,
    "add_cross_attention": _NONE,
    "partial_rotary_factor": (None, 1),
    "rotary_pct": (None, 1),
    "num_local_experts": _NONE,
    "num_experts": _NONE,
    "n_routed_experts": _NONE,
    "attn_logit_softcapping": _NONE,
    "final_logit_softcapping": _NONE,
    "logit_scale": (None, 1),
    "logits_scaling": (None, 1),
    "embedding_multiplier": (None, 1),
    "residual_multiplier": (None, 1),
    "attention_multiplier": _NONE,
    "attention_sinks": _NONE,
    "attention_chunk_size": _NONE,
    "clip_qkv": _NONE,
    "alibi": _NONE,
    "no_rope_layers": (*_NONE, []),
    "use_parallel_residual": _NONE,
    "use_mrope": _NONE,
    "pruned_heads": (None, {}),
}
# Fields of files, training, generation and labels: read elsewhere, or of no matter here.
_OF_NO_MATTER = re.compile(
    r"_.*|architectures|model_type|vocab_size|n_ctx|dtype|torch_dtype|.*_version|.*_token_id|tie_word_embeddings"
    r"|.*_?dropout|.*_pdrop|initializer_range|gradient_checkpointing|chunk_size_feed_forward|reorder_and_upcast_attn"
    r"|pretraining_tp|use_cache|output_.*|return_.*|summary_.*|task_specific_params|.*_length|length_penalty"
    r"|id2label|label2id|num_labels|problem_type|predict_special_tokens|max_window_layers|use_sliding_window"
)
_ROPE_KEYS = {"rope_theta", "rope_type", "type", "partial_rotary_factor"}
_LLAMA3_KEYS = {"factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"}


@dataclass(frozen=True, kw_only=True, slots=True)
class ForeignConfig:
    """What a foreign `config.json` says, in our words."""

    architecture: str
    model: ModelConfig
    bos_id: int | None
    eos_ids: tuple[int, ...]
    pad_id: int | None
    ignored: tuple[str, ...]  # fields that the architecture does not have


def read_foreign_config(fields: Mapping[str, Any], *, source: str) -> ForeignConfig:
    """Translate the content of a `config.json`; `source` is its path, for messages.

    Raises: CheckpointError in one line for an unknown architecture, a missing or impossible value, and for every field
    that changes the computation in a way Banyan has no switch for.
    """
    known = Fields(fields, source=source)
    architecture = known.word("model_type")
    if architecture not in _FAMILIES:
        raise CheckpointError(
            f"{source}: model_type={architecture!r} is an architecture that Banyan does not compute; "
            f"it knows {', '.join(_FAMILIES)}."
        )
    for name, neutral in _NEUTRAL.items():
        known.expect(name, neutral, default=None)
    try:
        model = _FAMILIES[architecture](known)
    except CheckpointError:
        raise
    except BanyanError as error:  # sizes that do not fit each other
        raise CheckpointError(f"{source}: {error.message}") from error
    return ForeignConfig(
        architecture=architecture,
        model=model,
        bos_id=next(iter(_ids(fields.get("bos_token_id"), model.vocab_size)), None),
        eos_ids=_ids(fields.get("eos_token_id"), model.vocab_size),
        pad_id=next(iter(_ids(fields.get("pad_token_id"), model.vocab_size)), None),
        ignored=tuple(sorted(name for name in fields.keys() - known.asked if not _OF_NO_MATTER.fullmatch(name))),
    )


def _ids(value: Any, vocab_size: int) -> tuple[int, ...]:
    """Return special ids; one beyond the vocabulary (a default that nobody changed) can never occur and is left out."""
    values = value if isinstance(value, list) else [value]
    return tuple(v for v in values if isinstance(v, int) and not isinstance(v, bool) and 0 <= v < vocab_size)


def _gpt2(fields: Fields) -> ModelConfig:
    fields.expect("activation_function", ("gelu_new", "gelu_pytorch_tanh"), default="gelu_new")
    fields.expect("scale_attn_weights", (True,), default=True)
    fields.expect("scale_attn_by_inverse_layer_idx", (False,), default=False)
    return ModelConfig(
        num_layers=fields.count("n_layer"),
        num_heads=fields.count("n_head"),
        embed_dim=fields.count("n_embd"),
        ffn_dim=fields.count_or_none("n_inner", default=None) or 0,
        vocab_size=fields.count("vocab_size"),
        max_seq_len=fields.count("n_positions"),
        norm="layer",
        norm_bias=True,
        norm_eps=fields.number("layer_norm_epsilon", default=1e-5),
        position="learned",
        activation="gelu_tanh",
        attention_bias=True,
        output_bias=True,
        ffn_bias=True,
        tie_embeddings=fields.flag("tie_word_embeddings", default=True),
    )


def _llama(fields: Fields) -> ModelConfig:
    bias = fields.flag("attention_bias", default=False)
    return _llama_like(
        fields,
        num_kv_heads=None,
        attention_bias=bias,
        output_bias=bias,
        ffn_bias=fields.flag("mlp_bias", default=False),
    )


def _mistral(fields: Fields) -> ModelConfig:
    _one_kind_of_layers(fields)
    return _llama_like(fields, num_kv_heads=8, sliding_window=fields.count_or_none("sliding_window", default=4096))


def _qwen2(fields: Fields) -> ModelConfig:
    return _llama_like(fields, num_kv_heads=32, attention_bias=True, sliding_window=_qwen_window(fields))


def _qwen3(fields: Fields) -> ModelConfig:
    bias = fields.flag("attention_bias", default=False)
    return _llama_like(
        fields,
        num_kv_heads=32,
        head_dim=128,
        attention_bias=bias,
        output_bias=bias,
        sliding_window=_qwen_window(fields),
        qk_norm="gain",
    )


# Every architecture by the name that `model_type` gives it.
_FAMILIES: Mapping[str, Callable[[Fields], ModelConfig]] = {
    "gpt2": _gpt2,
    "llama": _llama,
    "mistral": _mistral,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
}
ARCHITECTURES = tuple(_FAMILIES)


def _llama_like(
    fields: Fields, *, num_kv_heads: int | None, head_dim: int | None = None, **switches: Any
) -> ModelConfig:
    """Build the config that Llama and its relatives share; `num_kv_heads` and `head_dim` are the family's defaults."""
    fields.expect("hidden_act", ("silu", "swish"), default="silu")
    theta, scaling = _rope(fields)
    return ModelConfig(
        num_layers=fields.count("num_hidden_layers"),
        num_heads=fields.count("num_attention_heads"),
        num_kv_heads=fields.count_or_none("num_key_value_heads", default=num_kv_heads) or 0,
        head_dim=fields.count_or_none("head_dim", default=head_dim) or 0,
        embed_dim=fields.count("hidden_size"),
        ffn_dim=fields.count("intermediate_size"),
        vocab_size=fields.count("vocab_size"),
        max_seq_len=fields.count("max_position_embeddings"),
        norm_eps=fields.number("rms_norm_eps", default=1e-6),
        rope_theta=theta,
        rope_scaling=scaling,
        tie_embeddings=fields.flag("tie_word_embeddings", default=False),
        **switches,
    )


def _rope(fields: Fields) -> tuple[float, RopeScaling | None]:
    """Read theta and scaling: `rope_theta` and `rope_scaling`, or in newer files both in `rope_parameters`."""
    scaling = fields.mapping("rope_scaling") or {}
    parameters = fields.mapping("rope_parameters") or {}
    both = {key for key in scaling.keys() & parameters.keys() if scaling[key] != parameters[key]}
    if both:
        raise fields.refusal("rope_scaling", f"it contradicts rope_parameters in {', '.join(sorted(both))}")
    rope = Fields({**parameters, **scaling}, source=f"{fields.source}: rope_scaling")
    rope.expect("partial_rotary_factor", (None, 1), default=None)
    theta = rope.number("rope_theta", default=fields.number("rope_theta", default=10_000.0))
    kind = rope.word("rope_type", default=rope.word("type", default="default"))
    if kind == "default":
        rope.only(_ROPE_KEYS | {"factor"})
        return theta, None
    if kind != "llama3":
        raise fields.refusal("rope_scaling", f"its type is {kind!r}, and of the scalings Banyan computes llama3 alone")
    rope.only(_ROPE_KEYS | _LLAMA3_KEYS)
    return theta, RopeScaling(
        factor=rope.number("factor"),
        low_freq_factor=rope.number("low_freq_factor"),
        high_freq_factor=rope.number("high_freq_factor"),
        original_max_seq_len=rope.count("original_max_position_embeddings"),
    )


def _qwen_window(fields: Fields) -> int | None:
    """Return the window of all layers; layers from `max_window_layers` on have it, the others see everything."""
    window = fields.count_or_none("sliding_window", default=4096)
    if not fields.flag("use_sliding_window", default=False):
        window = None
    kind = _one_kind_of_layers(fields)
    if kind is not None:
        if kind == "sliding_attention" and window is None:
            raise fields.refusal("layer_types", "its layers slide, and there is no window (use_sliding_window)")
        return window if kind == "sliding_attention" else None
    num_layers, first = fields.count("num_hidden_layers"), fields.whole("max_window_layers", default=28)
    if window is None or first >= num_layers:
        return None
    if first > 0:
        raise fields.refusal(
            "max_window_layers",
            f"of {num_layers} layers some slide and some see everything; Banyan has one kind for all",
        )
    return window


def _one_kind_of_layers(fields: Fields) -> str | None:
    kinds = fields.words("layer_types")
    if kinds is None:
        return None
    if len(set(kinds)) != 1 or kinds[0] not in ("full_attention", "sliding_attention"):
        raise fields.refusal(
            "layer_types",
            f"it mixes {', '.join(map(repr, sorted(set(kinds)))) or 'nothing'}; Banyan has one kind for all layers",
        )
    return kinds[0]
