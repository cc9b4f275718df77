import pytest
import torch

from banyan.core.model_directory import EXTRAS_FILE, WEIGHTS_FILE
from banyan.core.types import HeadKind, HeadSpec
from banyan.model.on_disk_names import Layout, disk_layout, join_parameter, split_parameter
from banyan.model.presets import GPT2_SHAPE, QWEN3_SHAPE
from banyan.model.transformer import Transformer
from banyan.testing.models import tiny_model, tiny_model_config

HEAD = HeadSpec(name="area", kind=HeadKind.CLASSIFICATION, labels=("a", "b"))
SHAPES = {
    "gpt2": {**GPT2_SHAPE, "num_kv_heads": 4, "qk_norm": "none"},
    "qwen3": QWEN3_SHAPE,
    None: {"norm": "layer", "position": "learned", "activation": "relu2", "ffn_bias": True, "lookback": 2},
}


def layout_of(model: Transformer, architecture: str | None) -> Layout:
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    return disk_layout(shapes, config=model.config, heads=model.head_specs, architecture=architecture)


@pytest.mark.parametrize("architecture", SHAPES)
@pytest.mark.parametrize("tie_embeddings", [True, False])
def test_splitting_and_joining_give_every_parameter_back_bit_for_bit(
    architecture: str | None, tie_embeddings: bool
) -> None:
    changes = {**SHAPES[architecture], "tie_embeddings": tie_embeddings, "num_image_codes": 16, "grid_size": 4}
    model = tiny_model(tiny_model_config(**changes), [HEAD])
    layout = layout_of(model, architecture)
    for name, parameter in model.named_parameters():
        tensors = split_parameter(parameter, layout[name])
        assert [tuple(tensors[part.name].shape) for part in layout[name]] == [part.shape for part in layout[name]]
        assert torch.equal(join_parameter(tensors.values(), layout[name]), parameter)


@pytest.mark.parametrize("architecture", SHAPES)
def test_no_two_parts_share_a_name(architecture: str | None) -> None:
    config = tiny_model_config(**SHAPES[architecture], num_image_codes=16, grid_size=4)
    layout = layout_of(Transformer(config, [HEAD]), architecture)
    names = [part.name for parts in layout.values() for part in parts]
    assert len(set(names)) == len(names)


def test_only_words_go_to_the_file_that_other_tools_read() -> None:
    model = Transformer(tiny_model_config(num_image_codes=16, grid_size=4, tie_embeddings=False), [HEAD])
    parts = [part for group in layout_of(model, "qwen3").values() for part in group]
    beside = {part.name for part in parts if part.file == EXTRAS_FILE}
    rows = {part.name: part.num_rows for part in parts if part.file == WEIGHTS_FILE}
    expected = {"image_embedding.weight", "image_head.weight", "grid_embedding.weight"}
    assert beside == expected | {"heads.area.weight", "heads.area.bias"}
    assert rows["model.embed_tokens.weight"] == rows["lm_head.weight"] == 304
