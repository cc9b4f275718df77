import dataclasses

import pytest

from banyan.core.config import config_from_mapping, config_to_mapping
from banyan.core.errors import ConfigError, ShapeError, UnknownNameError
from banyan.model.config import ModelConfig, RopeScaling
from banyan.testing.models import tiny_model_config

SMALL = {"num_layers": 1, "num_heads": 4, "embed_dim": 32, "vocab_size": 64, "max_seq_len": 16}


def test_widths_that_are_not_given_follow_from_the_others() -> None:
    config = ModelConfig(**SMALL)
    assert (config.num_kv_heads, config.head_dim, config.ffn_dim) == (4, 8, 96)


def test_an_ungated_feed_forward_is_four_times_as_wide() -> None:
    assert ModelConfig(**SMALL, activation="gelu").ffn_dim == 128


def test_the_text_vocabulary_is_all_but_the_image_codes() -> None:
    assert ModelConfig(**SMALL, num_image_codes=16).text_vocab_size == 48


def test_a_config_survives_being_written_and_read() -> None:
    config = tiny_model_config(rope_scaling=RopeScaling(factor=8.0), sliding_window=4)
    assert config_from_mapping(ModelConfig, config_to_mapping(config)) == config


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ModelConfig(**SMALL).num_layers = 2  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_layers": 0}, "num_layers=0 must be at least 1"),
        ({"embed_dim": 30}, "nearest widths that can: 28 and 32"),
        ({"num_kv_heads": 3}, "not a multiple of model.num_kv_heads=3"),
        ({"head_dim": 7}, "head_dim=7 is odd"),
        ({"head_dim": -8}, "head_dim=-8 must not be negative"),
        ({"num_image_codes": 64}, "leaves no text"),
        ({"dropout": 1.0}, "must lie in 0 <= p < 1"),
        ({"sliding_window": 0}, "sliding_window=0 must be at least 1"),
        ({"norm_eps": 0.0}, "norm_eps=0.0 must be above 0"),
        ({"logit_softcap": -1.0}, "logit_softcap=-1.0 must not be negative"),
        ({"rope_scaling": RopeScaling(factor=2.0), "position": "learned"}, "rope_scaling"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_by_name_and_value(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ShapeError, match=words):
        ModelConfig(**{**SMALL, **changes})


def test_an_unknown_switch_names_the_nearest_one() -> None:
    with pytest.raises(UnknownNameError, match="did you mean num_layers"):
        config_from_mapping(ModelConfig, {**SMALL, "num_layer": 3})


def test_an_unknown_activation_is_refused() -> None:
    with pytest.raises(ConfigError, match="activation"):
        config_from_mapping(ModelConfig, {**SMALL, "activation": "swish"})
