from __future__ import annotations

from typing import Any

import pytest

from banyan.core.errors import ConfigError, UnknownNameError
from banyan.model.adapters import PARTS, Adapter, Adapters, LoraConfig


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"rank": 0}, "rank=0"),
        ({"rank": 10**6}, "rank=1000000"),
        ({"alpha": 0.0}, "alpha=0.0"),
        ({"alpha": float("nan")}, "alpha=nan"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"targets": ()}, "targets is empty"),
        ({"name": "a.b"}, "'a.b'"),
        ({"name": "a:b"}, "'a:b'"),
    ],
)
def test_a_config_that_cannot_be_is_refused(change: dict[str, Any], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        LoraConfig(**change)


def test_an_unknown_target_says_which_is_near() -> None:
    with pytest.raises(UnknownNameError, match="did you mean feed_forward"):
        LoraConfig(targets=("feedforward",))


def test_groups_stand_for_their_parts() -> None:
    assert LoraConfig(targets=("all",)).parts == set(PARTS)
    assert LoraConfig(targets=("qkv", "down")).parts == {"q", "k", "v", "down"}


def test_the_scale_is_alpha_by_rank_and_two_unless_asked_otherwise() -> None:
    assert LoraConfig(rank=16).scale == 2.0
    assert LoraConfig(rank=16, alpha=8).scale == 0.5


@pytest.mark.parametrize("name", ["train", "keys", "to", "active"])
def test_an_adapter_may_have_the_name_of_anything_a_module_has(name: str) -> None:
    adapters = Adapters()
    adapters.add(Adapter(LoraConfig(name=name)))
    assert list(adapters) == [name] and name in adapters and adapters[name].config.name == name
    adapters.remove(name)
    assert not adapters
