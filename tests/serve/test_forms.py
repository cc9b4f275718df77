import json
from typing import Any

import httpx
import pytest

from banyan.store.keys import create_key
from banyan.store.sql_store import SqlStore
from banyan.testing.serving import RunningServer

CHAT: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "独木成林？"}], "temperature": 1.5}
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 5}, "is_sure": {"type": "boolean"}},
    "required": ["name", "is_sure"],
    "additionalProperties": False,
}


def content(client: httpx.Client, **fields: Any) -> str:
    answer = client.post("/v1/chat/completions", json={**CHAT, "max_tokens": 60, "seed": 3, **fields})
    assert answer.status_code == 200, answer.text
    choice = answer.json()["choices"][0]
    assert choice["finish_reason"] == "stop"
    return str(choice["message"]["content"])


def test_an_answer_has_the_form_that_was_asked_for(client: httpx.Client) -> None:
    wrapped = {"type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": SCHEMA}}
    person = json.loads(content(client, response_format=wrapped))
    assert set(person) == {"name", "is_sure"} and len(person["name"]) <= 5
    assert isinstance(json.loads(content(client, response_format={"type": "json_object"})), dict)
    assert content(client, choices=["yes", "no, never"]) in ("yes", "no, never")


def test_a_streamed_answer_has_its_form_too(client: httpx.Client) -> None:
    body = {**CHAT, "choices": ["yes", "no, never"], "stream": True, "max_tokens": 30}
    lines = client.post("/v1/chat/completions", json=body).text.splitlines()
    frames = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    text = "".join(frame["choices"][0]["delta"].get("content", "") for frame in frames)
    assert text in ("yes", "no, never")


@pytest.mark.parametrize("extra", [{"stop": "a"}, {"num_beams": 2}])
def test_what_would_break_the_form_is_refused(client: httpx.Client, extra: dict[str, Any]) -> None:
    answer = client.post("/v1/chat/completions", json={**CHAT, "choices": ["a"], **extra})
    assert answer.status_code == 400 and "does not go with" in answer.json()["error"]["message"]


def test_a_client_may_ask_for_less_time_than_the_server_gives(client: httpx.Client) -> None:
    answer = client.post("/v1/chat/completions", json={**CHAT, "max_tokens": 150, "timeout_seconds": 0.001})
    assert answer.status_code == 504 and "0.001 s" in answer.json()["error"]["message"]


def test_a_prompt_that_was_read_before_is_counted_as_cached_and_stored_so(
    client: httpx.Client, store: SqlStore
) -> None:
    body = {"model": "tiny", "prompt": "one tree, a whole forest " * 4, "max_tokens": 2}
    answers = [client.post("/v1/completions", json=body) for _ in range(2)]
    counts = [answer.json()["usage"]["prompt_tokens_details"]["cached_tokens"] for answer in answers]
    assert counts[0] == 0 and counts[1] >= 64
    kept = [store.queries.show(answer.headers["X-Request-Id"]).answer for answer in answers]
    assert [None if own is None else own.num_cached_tokens for own in kept] == counts


def test_what_one_key_had_read_tells_another_nothing(server: RunningServer, client: httpx.Client) -> None:
    body = {"model": "tiny", "prompt": "a secret of one key alone, " * 4, "max_tokens": 1}
    other = create_key(server.store.database, name="other").secret
    counts = []
    for key in (server.key, server.key, other, other):
        answer = client.post("/v1/completions", json=body, headers={"Authorization": f"Bearer {key}"})
        counts.append(answer.json()["usage"]["prompt_tokens_details"]["cached_tokens"] > 0)
    assert counts == [False, True, False, True]
