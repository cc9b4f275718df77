import json
from typing import Any

import pytest

from banyan.core.errors import ConfigError, InputError, UnknownNameError
from banyan.tasks.base import Task
from banyan.tasks.registry import TASK_KINDS, task_from_spec
from banyan.testing.tasks import SEEING, TASKS


def test_every_kind_is_registered_under_its_own_name() -> None:
    assert all(TASK_KINDS[name].kind == name for name in TASK_KINDS)
    assert {task.kind for task in (*TASKS.values(), *SEEING.values())} == set(TASK_KINDS)


@pytest.mark.parametrize("task", [*TASKS.values(), *SEEING.values()], ids=[*TASKS, *SEEING])
def test_a_description_survives_a_file(task: Task[Any]) -> None:
    written = json.dumps(task.spec(), ensure_ascii=False)
    assert task_from_spec(json.loads(written)) == task


def test_a_description_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ConfigError, match="needs its kind"):
        task_from_spec({"name": "x"})
    with pytest.raises(UnknownNameError, match="did you mean tagging"):
        task_from_spec({"kind": "taging", "name": "x"})
    with pytest.raises(UnknownNameError, match="unknown key 'lables'; did you mean labels"):
        task_from_spec({"kind": "tagging", "name": "x", "lables": ["a"]})
    with pytest.raises(InputError, match="lone surrogate"):
        task_from_spec({"kind": "tagging", "name": "x", "labels": ["\ud800"]})
