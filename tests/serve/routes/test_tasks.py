"""What a task may be asked for: languages that its model was taught."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from banyan.runtime.loading import load
from banyan.serve.local_model import LocalModel
from banyan.store.sql_store import SqlStore
from banyan.tasks.translation import Translation
from banyan.testing.model_directories import save_tiny_model
from banyan.testing.serving import running_server
from banyan.testing.tasks import TASKS

DIRECTIONS = ("en>zh", "zh>en", "en>de")
EN_ZH = {"source_language": "en", "target_language": "zh"}


@pytest.fixture(scope="module")
def client(store: SqlStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    plain = TASKS["translation"]
    assert isinstance(plain, Translation)
    tasks = [replace(plain, directions=DIRECTIONS) if task is plain else task for task in TASKS.values()]
    folder: Path = save_tiny_model(tmp_path_factory.mktemp("models") / "taught", tasks=tasks)
    with (
        load(folder, device="cpu", num_slots=4) as loaded,
        running_server(LocalModel(loaded), store) as server,
        server.client() as client,
    ):
        yield client


def refused(client: httpx.Client, body: dict[str, Any]) -> dict[str, Any]:
    answer = client.post("/v1/tasks/mt", json={**body, "max_tokens": 2})
    assert answer.status_code == 400, answer.text
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["code"]) == ("invalid_request_error", "unsupported_language")
    assert "\n" not in error["message"]
    return error


def test_the_list_of_tasks_says_what_a_translation_was_taught(client: httpx.Client) -> None:
    listed = {task["name"]: task for task in client.get("/v1/tasks").json()["data"]}
    assert listed["mt"]["directions"] == list(DIRECTIONS)
    assert "directions" not in listed["topic"]


def test_what_was_taught_is_answered(client: httpx.Client) -> None:
    for given in ({"source": "a tree", **EN_ZH}, "zh>en: 一棵树", "zh>de: 一棵树"):
        answer = client.post("/v1/tasks/mt", json={"input": given, "max_tokens": 2})
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("body", "param", "told"),
    [
        ({"input": "en>xx: a tree"}, "target_language", 'into target_language="xx"; it was taught de, en, zh.'),
        ({"input": {"source": "a", **EN_ZH, "source_language": "fr"}}, "source_language", "it was taught en, zh."),
        ({"input": {"source": "a", **EN_ZH, "target_language": "en"}}, "target_language", "into itself"),
        ({"inputs": ["en>zh: a tree", "en>xx: a tree"]}, "target_language", 'target_language="xx"'),
    ],
    ids=["unknown", "never translated from", "the same", "one of several"],
)
def test_a_language_that_was_not_taught_is_a_400_that_says_which_were(
    client: httpx.Client, store: SqlStore, body: dict[str, Any], param: str, told: str
) -> None:
    before = store.queries.counts().num_requests
    error = refused(client, body)
    assert error["param"] == param and told in error["message"]
    assert "(name one of these, as in en>zh)" in error["message"] or "(it was taught en>zh" in error["message"]
    assert store.queries.counts().num_requests == before


def test_a_refusal_does_not_repeat_a_text_in_the_place_of_a_language(client: httpx.Client) -> None:
    error = refused(client, {"input": {"source": "a", **EN_ZH, "target_language": "a secret of mine"}})
    assert "secret" not in error["message"] and "a text of 16 characters" in error["message"]
