"""The list of task kinds. A new kind is one file and one line here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from banyan.core.config import config_from_mapping
from banyan.core.errors import ConfigError, UnknownNameError
from banyan.core.registry import Registry
from banyan.tasks.base import Task
from banyan.tasks.captioning import Captioning
from banyan.tasks.classification import Classification
from banyan.tasks.dialogue import Dialogue
from banyan.tasks.image_generation import ImageGeneration
from banyan.tasks.language_modeling import LanguageModeling
from banyan.tasks.picture_classification import PictureClassification
from banyan.tasks.question_answering import QuestionAnswering
from banyan.tasks.summarization import Summarization
from banyan.tasks.tagging import Tagging
from banyan.tasks.translation import Translation
from banyan.tokenizers.bpe import require_utf8

TASK_KINDS: Registry[type[Task[Any]]] = Registry("task kind")
TASK_KINDS.add("language_modeling", LanguageModeling)
TASK_KINDS.add("classification", Classification)
TASK_KINDS.add("tagging", Tagging)
TASK_KINDS.add("translation", Translation)
TASK_KINDS.add("summarization", Summarization)
TASK_KINDS.add("question_answering", QuestionAnswering)
TASK_KINDS.add("dialogue", Dialogue)
TASK_KINDS.add("image_generation", ImageGeneration)
TASK_KINDS.add("picture_classification", PictureClassification)
TASK_KINDS.add("captioning", Captioning)


def kind_of_task(name: str) -> type[Task[Any]]:
    """Return the class of a kind.

    Raises: UnknownNameError for a kind nobody knows, with the nearest one and where others come from.
    """
    try:
        return TASK_KINDS[name]
    except UnknownNameError as error:
        raise UnknownNameError(error.message, hint="a kind from a file of your own: --plugin my_kind.py") from error


def task_from_spec(spec: Mapping[str, Any]) -> Task[Any]:
    """Make the task that `Task.spec` described.

    Raises: ConfigError if the description has no kind; UnknownNameError for a kind or key nobody knows; InputError for
    text that is no Unicode, for what a task and its labels are called is told to clients.
    """
    values = dict(spec)
    kind = values.pop("kind", None)
    if not isinstance(kind, str):
        raise ConfigError(f"a task description needs its kind, got the keys {sorted(spec)}.")
    task = config_from_mapping(kind_of_task(kind), values, source=f"task {values.get('name', '?')}")
    require_utf8(json.dumps(task.spec(), ensure_ascii=False))
    return task
