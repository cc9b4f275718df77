from typing import Any

import pytest

from banyan.core.config import config_from_mapping
from banyan.core.errors import ConfigError
from banyan.tasks.augmentation.config import METHODS, Augmentation
from banyan.tasks.config import TaskConfig
from banyan.tasks.registry import TASK_KINDS


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"share": 0.0, "swap": 0.1},
        {"swap": 1.5},
        {"insert": 0.1, "max_translated": 0},
        {"delete": 1, "pivot": "en"},
        {"delete": 1, "pivot": "en>"},
    ],
    ids=["nothing", "never", "above 1", "no texts", "no direction", "half a direction"],
)
def test_values_that_mean_nothing_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="augment"):
        config_from_mapping(Augmentation, values)


@pytest.mark.parametrize("kind", [name for name, kind in TASK_KINDS.items() if len(kind.augmentations) < len(METHODS)])
def test_a_method_that_could_make_answers_wrong_is_refused_by_name(kind: str) -> None:
    method = next(method for method in METHODS if method not in TASK_KINDS[kind].augmentations)
    given = {"name": "it", "kind": kind, "augment": {method: 0.1}}
    with pytest.raises(ConfigError, match=f"task it: (augment.{method}=0.1 could make|examples of kind {kind} cannot)"):
        config_from_mapping(TaskConfig, given)


def test_the_methods_of_a_kind_are_accepted() -> None:
    values = {method: 0.1 for method in METHODS}
    made = config_from_mapping(TaskConfig, {"name": "it", "kind": "classification", "augment": values})
    assert made.augment is not None and made.augment.methods == METHODS and made.augment.needs_model
