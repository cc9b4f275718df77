from typing import Any

import pytest

from banyan.core.errors import ConfigError, UnknownNameError
from banyan.train.balance_config import BalanceConfig, task_groups


@pytest.mark.parametrize(
    "changes",
    [
        {"learning_rate": 0.0},
        {"decay": 1.0},
        {"smoothing": -0.1},
        {"groups": (("a", "b"),)},
        {"method": "db_mtl", "groups": (("a", "b"), ("a",))},
    ],
)
def test_values_that_make_no_sense_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"train\.balance"):
        BalanceConfig(**changes)


def test_a_task_that_no_group_names_stands_alone() -> None:
    config = BalanceConfig(method="db_mtl", groups=(("c", "a"),))
    assert task_groups(config, ("a", "b", "c")) == ((2, 0), (1,))


def test_more_than_four_gradients_are_refused_until_they_are_grouped() -> None:
    names = tuple("abcde")
    with pytest.raises(ConfigError, match="5 gradients"):
        task_groups(BalanceConfig(method="db_mtl"), names)
    groups = task_groups(BalanceConfig(method="db_mtl", groups=(("a", "b"),)), names)
    assert groups is not None and len(groups) == 4


def test_a_group_of_an_unknown_task_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="wrods"):
        task_groups(BalanceConfig(method="db_mtl", groups=(("wrods",),)), ("words",))


def test_other_methods_have_one_gradient_for_all_tasks() -> None:
    assert task_groups(BalanceConfig(method="famo"), ("a", "b")) is None


def test_gradients_by_group_are_refused_on_several_processes() -> None:
    with pytest.raises(ConfigError, match="one process"):
        task_groups(BalanceConfig(method="db_mtl"), ("a", "b"), world_size=2)
