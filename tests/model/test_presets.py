import pytest
import torch

from banyan.core.errors import UnknownNameError
from banyan.model.hugging_face_config import stock_architecture
from banyan.model.presets import MODEL_PRESETS, model_config
from banyan.model.transformer import Transformer, count_parameters


def count_of(preset: str, *, vocab_size: int) -> float:
    with torch.device("meta"):
        return count_parameters(Transformer(model_config(preset, {"vocab_size": vocab_size}))) / 1e6


@pytest.mark.parametrize("name", [name for name in MODEL_PRESETS if name.startswith("banyan-")])
def test_our_own_presets_open_in_other_tools_as_qwen3(name: str) -> None:
    assert stock_architecture(model_config(name, {"vocab_size": 4096})) == "qwen3"


@pytest.mark.parametrize("name", [name for name in MODEL_PRESETS if name.startswith("sprint-")])
def test_no_stock_architecture_computes_a_preset_made_for_a_fast_start(name: str) -> None:
    assert stock_architecture(model_config(name, {"vocab_size": 4096})) is None


@pytest.mark.parametrize(
    ("name", "vocab_size", "millions"),
    [
        ("banyan-nano", 4096, 1.2),
        ("banyan-micro", 4096, 3.8),
        ("banyan-small", 4096, 11.0),
        ("banyan-base", 4096, 25.7),
        ("banyan-gpt2s", 50304, 123.6),
        ("sprint-nano", 65, 0.8),
        ("sprint-micro", 65, 4.8),
        ("sprint-small", 65, 9.9),
        # the counts their makers published
        ("gpt2", 50257, 124.4),
        ("gpt2-medium", 50257, 354.8),
        ("llama-3.2-1b", 128256, 1235.8),
        ("mistral-7b", 32000, 7241.7),
        ("qwen2.5-0.5b", 151936, 494.0),
        ("qwen3-0.6b", 151936, 596.0),
    ],
)
def test_a_preset_has_as_many_weights_as_its_name_promises(name: str, vocab_size: int, millions: float) -> None:
    assert count_of(name, vocab_size=vocab_size) == pytest.approx(millions, abs=0.06)


def test_a_recipe_may_change_any_field_of_a_preset() -> None:
    config = model_config("banyan-nano", {"vocab_size": 512, "num_layers": 6, "max_seq_len": 256})
    assert (config.num_layers, config.max_seq_len, config.embed_dim) == (6, 256, 128)


def test_an_unknown_preset_or_field_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean banyan-nano"):
        model_config("banyan-nan", {"vocab_size": 512})
    with pytest.raises(UnknownNameError, match="did you mean num_layers"):
        model_config("banyan-nano", {"vocab_size": 512, "layers": 3})


def test_a_preset_is_not_changed_by_its_use() -> None:
    with pytest.raises(TypeError):
        MODEL_PRESETS["gpt2"]["num_layers"] = 1  # type: ignore[index]
