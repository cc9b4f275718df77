import pytest

from banyan.model.hugging_face_config import hugging_face_config, stock_architecture
from banyan.model.presets import GPT2_SHAPE, LLAMA_SHAPE, MISTRAL_SHAPE, QWEN2_SHAPE, QWEN3_SHAPE, Preset
from banyan.testing.models import tiny_model_config

SHAPES: dict[str, Preset] = {
    "gpt2": {**GPT2_SHAPE, "num_kv_heads": 4},
    "llama": LLAMA_SHAPE,
    "mistral": MISTRAL_SHAPE,
    "qwen2": QWEN2_SHAPE,
    "qwen3": QWEN3_SHAPE,
}


@pytest.mark.parametrize("name", SHAPES)
def test_each_family_is_recognised_by_its_switches(name: str) -> None:
    assert stock_architecture(tiny_model_config(**{"qk_norm": "none", **SHAPES[name]})) == name


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("gpt2", {"activation": "gelu"}),
        ("gpt2", {"num_kv_heads": 2}),
        ("gpt2", {"head_dim": 16}),
        ("gpt2", {"ffn_bias": False}),
        ("gpt2", {"sliding_window": 4}),
        ("llama", {"activation": "relu2"}),
        ("llama", {"norm_gain": False}),
        ("llama", {"position": "none"}),
        ("llama", {"output_bias": True}),
        ("mistral", {"ffn_bias": True}),
        ("qwen2", {"head_dim": 16}),
        ("qwen3", {"qk_norm": "plain"}),
        ("qwen3", {"ffn_bias": True}),
        ("qwen3", {"logit_softcap": 15.0}),
        ("qwen3", {"lookback": 1}),
    ],
)
def test_a_model_no_stock_architecture_computes_is_said_to_be_none(name: str, changes: Preset) -> None:
    config = tiny_model_config(**{"qk_norm": "none", **SHAPES[name], **changes})
    assert stock_architecture(config) is None
    foreign = hugging_face_config(config, dtype="float32", bos_id=None, eos_id=None, pad_id=None)
    assert foreign["model_type"] == "banyan"


def test_image_codes_are_not_announced_to_other_tools() -> None:
    config = tiny_model_config(num_image_codes=20)
    foreign = hugging_face_config(config, dtype="float32", bos_id=1, eos_id=2, pad_id=0)
    assert (foreign["vocab_size"], foreign["bos_token_id"], foreign["eos_token_id"]) == (300, 1, 2)
