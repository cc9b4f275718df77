import math

import pytest

from banyan.core.config import config_from_mapping, config_to_mapping
from banyan.core.errors import BanyanError, ConfigError, UnknownNameError
from banyan.infer.sampling import GREEDY, SamplingConfig


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", -0.1),
        ("temperature", math.nan),
        ("temperature", math.inf),
        ("top_k", -1),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("min_p", -0.1),
        ("min_p", 1.5),
        ("repetition_penalty", 0.0),
        ("presence_penalty", math.inf),
        ("frequency_penalty", math.nan),
        ("guidance_scale", -1.0),
        ("max_tokens", 0),
        ("stop", ("",)),
        ("num_beams", 0),
        ("length_penalty", math.nan),
        ("no_repeat_ngram", -1),
        ("min_tokens", -1),
    ],
)
def test_a_value_that_cannot_be_used_is_named(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"sampling.{field}="):
        SamplingConfig(**{field: value})  # type: ignore[arg-type]


def test_an_unknown_key_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="temperature"):
        config_from_mapping(SamplingConfig, {"temprature": 1.0})


def test_a_config_survives_being_written_down() -> None:
    config = SamplingConfig(temperature=0.7, top_p=0.9, stop=("\n", "<<"), seed=5, max_tokens=3)
    assert config_from_mapping(SamplingConfig, config_to_mapping(config)) == config


def test_a_bad_value_in_a_recipe_is_our_error() -> None:
    with pytest.raises(BanyanError, match="top_p"):
        config_from_mapping(SamplingConfig, {"top_p": 2})


def test_nothing_asked_for_means_greedy_without_penalties() -> None:
    assert GREEDY.is_greedy and not GREEDY.has_penalties
    assert not SamplingConfig(temperature=0.1).is_greedy
    assert SamplingConfig(presence_penalty=0.1).has_penalties


@pytest.mark.parametrize("aside", [{"temperature": 0.5}, {"stop": ("x",)}, {"repetition_penalty": 1.1}])
def test_a_search_draws_nothing(aside: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="num_beams=2 does not go with"):
        SamplingConfig(num_beams=2, **aside)  # type: ignore[arg-type]
