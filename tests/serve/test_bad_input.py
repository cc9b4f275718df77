"""Every row of the bad-input table that this server can meet, through a real socket."""

from __future__ import annotations

import json
import logging
import socket
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from banyan.serve.local_model import LocalModel
from banyan.serve.schemas import (
    ChatRequest,
    CompletionRequest,
    EmbeddingRequest,
    FeedbackRequest,
    ImageRequest,
    TaskRequest,
)
from banyan.store.sql_store import SqlStore
from banyan.testing.serving import RunningServer, running_server

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
IMAGES = "/v1/images/generations"
JSON = {"Content-Type": "application/json"}
ASK = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 2}


def assert_refused(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert len(response.headers["X-Request-Id"]) == 26
    error = response.json()["error"]
    assert error["code"] == code
    assert {"message", "type", "param", "code"} <= set(error)
    return dict(error)


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "invalid_json"),
        (b'{"model":', "invalid_json"),
        (b"[1]", "invalid_type"),
        (b'{"model":"tiny","model":"tiny"}', "duplicate_key"),
        (b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}", "too_deep"),
        (b'{"temperature":NaN}', "invalid_number"),
        (b'{"temperature":1e999}', "invalid_number"),
        (b'{"messages":[{"content":"\\ud800"}]}', "invalid_text"),
        (b'{"messages":[{"content":"\xff"}]}', "invalid_text"),
    ],
)
def test_a_doubtful_body_is_refused_in_the_common_shape(client: httpx.Client, raw: bytes, code: str) -> None:
    assert_refused(client.post(CHAT, content=raw, headers=JSON), 400, code)


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "text/plain",
        "application/json; charset=utf-16",
        "multipart/form-data",
        "application/x-www-form-urlencoded",
    ],
)
def test_another_content_type_is_refused(client: httpx.Client, content_type: str | None) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    assert_refused(client.post(CHAT, content=json.dumps(ASK), headers=headers), 415, "unsupported_media_type")


def test_the_usual_ways_to_say_json_are_accepted(client: httpx.Client) -> None:
    for content_type in ("application/json", "Application/JSON; charset=UTF-8", 'application/json;charset="utf-8"'):
        response = client.post(CHAT, content=json.dumps(ASK), headers={"Content-Type": content_type})
        assert response.status_code == 200, response.text


def test_a_body_over_the_limit_is_refused_declared_or_not(server: RunningServer, client: httpx.Client) -> None:
    limit = server.parts.settings.max_body_bytes
    assert_refused(client.post(CHAT, content=b" " * (limit + 1), headers=JSON), 413, "body_too_large")
    chunks = (b" " * 65_536 for _ in range(limit // 65_536 + 2))
    assert_refused(client.post(CHAT, content=chunks, headers=JSON), 413, "body_too_large")
    assert_refused(client.post(CHAT, content=b" " * limit, headers=JSON), 400, "invalid_json")


def raw_exchange(server: RunningServer, request: bytes) -> bytes:
    address = urlsplit(server.url)
    with socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=10) as connection:
        connection.sendall(request)
        answer = b""
        while chunk := connection.recv(65_536):
            answer += chunk
    return answer


def raw_post(server: RunningServer, *headers: str) -> bytes:
    lines = [f"POST {CHAT} HTTP/1.1", "Host: x", f"Authorization: Bearer {server.key}", *JSON_LINES, *headers]
    return raw_exchange(server, "\r\n".join([*lines, "", "{}"]).encode())


JSON_LINES = ("Content-Type: application/json", "Connection: close")


@pytest.mark.parametrize(
    "headers",
    [
        ("Content-Length: -1",),
        ("Content-Length: two",),
        ("Content-Length: 2", "Content-Length: 3"),
        ("Content-Length: 2", "Transfer-Encoding: chunked"),
    ],
)
def test_a_false_content_length_is_refused_and_the_connection_closed(
    server: RunningServer, headers: tuple[str, ...]
) -> None:
    head, _, body = raw_post(server, *headers).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400")
    assert b"x-request-id" in head.lower()
    assert json.loads(body)["error"]["code"] == "bad_content_length"


@pytest.mark.parametrize("headers", [[("X-Long", "x" * 33_000)], [(f"X-{n}", "1") for n in range(101)]])
def test_too_many_or_too_large_headers_are_refused(client: httpx.Client, headers: list[tuple[str, str]]) -> None:
    assert_refused(client.get("/livez", headers=headers), 431, "headers_too_large")


def test_headers_that_never_end_are_refused(server: RunningServer) -> None:
    answer = raw_exchange(server, b"GET /livez HTTP/1.1\r\nX-Long: " + b"x" * 60_000)
    assert answer.startswith(b"HTTP/1.1 431")
    assert b"headers_too_large" in answer


def test_bytes_that_are_no_http_are_refused(server: RunningServer) -> None:
    answer = raw_exchange(server, b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"invalid_http" in answer


LIVE = b"/livez HTTP/1.1\r\nHost: a\r\n"
BROKEN_CHUNK = b"Transfer-Encoding: chunked\r\n\r\n5;ext=a\r\n{}\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("request_", "has_body"),
    [
        (b"HEAD " + LIVE + BROKEN_CHUNK, False),
        (b"HEAD /v1/completions HTTP/1.1\r\nHost: a\r\n" + BROKEN_CHUNK, False),
        (b"GET " + LIVE + b"\r\nHEAD " + LIVE + BROKEN_CHUNK, False),
        (b"HEAD " + LIVE + b"\r\nGET " + LIVE + BROKEN_CHUNK, True),
        (b"HEAD " + LIVE + b"\r\n:\r\n\r\n", True),
    ],
    ids=["head", "head of another route", "head behind get", "get behind head", "no http behind head"],
)
def test_a_refusal_of_a_head_request_has_no_body_and_breaks_nothing(
    model: LocalModel, store: SqlStore, caplog: pytest.LogCaptureFixture, request_: bytes, has_body: bool
) -> None:
    with running_server(model, store) as server:
        refusal = raw_exchange(server, request_).rpartition(b"HTTP/1.1 ")[2]  # the last answer
    head, _, body = refusal.partition(b"\r\n\r\n")
    assert head.startswith(b"400")
    assert b"x-request-id" in head.lower()
    assert (json.loads(body)["error"]["code"] if body else None) == ("invalid_http" if has_body else None)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


SLOW = b"POST /v1/models HTTP/1.1\r\nHost: a\r\nX-"


@pytest.mark.parametrize(
    ("begin", "is_second"), [(b"", False), (SLOW, False), (SLOW, True)], ids=["silent", "slow", "slow again"]
)
def test_headers_that_do_not_come_are_not_waited_for(
    model: LocalModel, store: SqlStore, begin: bytes, is_second: bool
) -> None:
    # Of two requests the first must come in time, however busy the machine is.
    with running_server(model, store, header_seconds=1.0 if is_second else 0.2) as server:
        with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=20) as connection:
            if is_second:
                connection.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
                assert connection.recv(65536).startswith(b"HTTP/1.1 200")
            connection.sendall(begin)
            answer = b"".join(iter(lambda: connection.recv(65536), b""))  # ends when the server closes
        assert (b"header_timeout" in answer) == bool(begin)


def test_a_body_that_does_not_come_is_not_waited_for(model: LocalModel, store: SqlStore) -> None:
    with running_server(model, store, body_seconds=0.1) as server:
        answer = raw_post(server, "Content-Length: 50")
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"body_timeout" in answer


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        (CHAT, {**ASK, "temprature": 1}, 400, "unknown_field"),
        (CHAT, {"model": "tiny"}, 400, "missing_field"),
        (CHAT, {**ASK, "messages": []}, 400, "empty_input"),
        (CHAT, {**ASK, "model": "other"}, 404, "model_not_found"),
        (CHAT, {**ASK, "n": 9}, 400, "out_of_range"),
        (CHAT, {**ASK, "n": True}, 400, "invalid_type"),
        (CHAT, {**ASK, "temperature": -1}, 400, "out_of_range"),
        (CHAT, {**ASK, "stop": [""]}, 400, "out_of_range"),
        (CHAT, {**ASK, "num_beams": 2, "stream": True}, 400, "unsupported_value"),
        (CHAT, {**ASK, "num_beams": 2, "temperature": 1}, 400, "invalid_value"),
        (CHAT, {**ASK, "num_beams": 17}, 400, "out_of_range"),
        ("/v1/tasks/mt", {"input": "a", "num_beams": 16}, 400, "invalid_value"),
        (CHAT, {**ASK, "tools": [{"type": "function"}]}, 400, "tools_not_supported"),
        (CHAT, {**ASK, "messages": [{"role": "user", "content": "word " * 500}]}, 400, "context_length_exceeded"),
        (CHAT, {**ASK, "max_tokens": 500}, 400, "context_length_exceeded"),
        (COMPLETIONS, {"model": "tiny", "prompt": ""}, 400, "empty_input"),
        (COMPLETIONS, {"model": "tiny", "prompt": [5, 100_000]}, 400, "invalid_value"),
        (COMPLETIONS, {"model": "tiny", "prompt": [5] * 193, "max_tokens": 1}, 400, "context_length_exceeded"),
        (COMPLETIONS, {"model": "tiny", "prompt": ["a"] * 30, "n": 8}, 400, "out_of_range"),
        (IMAGES, {"prompt": "seven", "size": "7x7"}, 400, "out_of_range"),
        (IMAGES, {"prompt": "seven", "n": 9}, 400, "out_of_range"),
        ("/v1/tasks/topic", {"input": "  "}, 400, "empty_input"),
        ("/v1/tasks/topic", {"inputs": []}, 400, "empty_input"),
        ("/v1/tasks/qa", {"input": {"question": "which?", "context": " "}}, 400, "empty_input"),
        ("/v1/tasks/topic", {"input": {"text": [3]}}, 400, "invalid_value"),
        ("/v1/tasks/topic", {"input": {"txt": "a"}}, 400, "invalid_value"),
        ("/v1/tasks/qa", {"input": {"question": "who?"}}, 400, "invalid_value"),
        ("/v1/tasks/qa", {"input": {"question": " ", "context": "a"}}, 400, "empty_input"),
        ("/v1/tasks/mt", {"input": {"translation": 3}}, 400, "invalid_value"),
        ("/v1/tasks/mt", {"input": '{"a":' * 5_000}, 400, "invalid_value"),
        ("/v1/tasks/qa", {"input": '{"question": ' + "9" * 5_000 + "}"}, 400, "invalid_value"),
        ("/v1/tasks/chat", {"input": {"messages": 3}}, 400, "invalid_value"),
        ("/v1/tasks/chat", {"input": {"messages": [{"role": "user", "content": {}}]}}, 400, "invalid_value"),
        ("/v1/tasks/topc", {"input": "a"}, 404, "task_not_found"),
        ("/v1/feedback", {"id": "0" * 26, "rating": 1}, 404, "not_found"),
        ("/v1/feedback", {"id": "../x", "rating": 1}, 404, "not_found"),
        ("/v1/nothing", {}, 404, "not_found"),
    ],
)
def test_a_wrong_request_is_refused_in_the_common_shape(
    client: httpx.Client, path: str, body: dict[str, Any], status: int, code: str
) -> None:
    assert_refused(client.post(path, json=body), status, code)


def test_a_prompt_that_is_too_long_is_told_both_counts(client: httpx.Client) -> None:
    error = assert_refused(client.post(CHAT, json={**ASK, "max_tokens": 500}), 400, "context_length_exceeded")
    assert error["n_ctx"] == 192
    assert error["message"] == f"prompt has {error['n_prompt_tokens']} tokens and max_tokens is 500; the limit is 192"


def test_a_misspelt_field_or_task_is_told_its_neighbour(client: httpx.Client) -> None:
    field = assert_refused(client.post(CHAT, json={**ASK, "temprature": 1}), 400, "unknown_field")
    assert 'did you mean "temperature"?' in field["message"]
    task = assert_refused(client.post("/v1/tasks/topc", json={"input": "a"}), 404, "task_not_found")
    assert "did you mean topic?" in task["message"]


@pytest.mark.parametrize(
    "path", ["/v1/models/", "/v1//models", "/V1/models", "/v1/models;x=1/a", "/v1/../v1/x", "/docs"]
)
def test_a_path_that_is_nearly_right_is_not_found(client: httpx.Client, path: str) -> None:
    request = client.build_request("GET", client.base_url)
    request.url = request.url.copy_with(raw_path=path.encode())
    assert_refused(client.send(request), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("GET", CHAT, "POST"), ("DELETE", "/v1/models", "GET"), ("PUT", "/v1/tasks/topic", "POST"), ("PATCH", "/", "GET")],
)
def test_a_wrong_method_is_told_the_right_one(client: httpx.Client, method: str, path: str, allowed: str) -> None:
    response = client.request(method, path)
    error = assert_refused(response, 405, "method_not_allowed")
    assert error["message"] == f"use {allowed}"
    assert response.headers["Allow"] == allowed


def test_a_query_that_makes_no_sense_is_refused(client: httpx.Client) -> None:
    for query, code in [
        ("limit=0", "out_of_range"),
        ("limit=x", "invalid_type"),
        ("limit=1&limit=2", "duplicate_key"),
        ("limt=1", "unknown_field"),
        ("state=lost", "invalid_value"),
        ("q=%00", "invalid_text"),
        (f"before={'0' * 26}", "invalid_value"),
    ]:
        assert_refused(client.get(f"/v1/outputs?{query}"), 400, code)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
SCHEMAS = {
    CHAT: ChatRequest,
    COMPLETIONS: CompletionRequest,
    IMAGES: ImageRequest,
    "/v1/embeddings": EmbeddingRequest,
    "/v1/tasks/topic": TaskRequest,
    "/v1/tasks/qa": TaskRequest,
    "/v1/tasks/chat": TaskRequest,
    "/v1/tasks/mt": TaskRequest,
    "/v1/feedback": FeedbackRequest,
}


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_body_whatever_breaks_the_server(client: httpx.Client, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(SCHEMAS)))
    known = st.sampled_from(sorted(SCHEMAS[path].model_fields))
    body = data.draw(st.dictionaries(known, ANYTHING, max_size=4))
    if path in (CHAT, COMPLETIONS) and data.draw(st.booleans()):
        body = {**ASK, **body, "max_tokens": 2} if path == CHAT else {"model": "tiny", "prompt": "a", **body}
    response = client.post(path, content=json.dumps(body).encode(), headers=JSON)
    assert response.status_code < 500, (path, body, response.text)
    if response.status_code >= 400:
        assert set(response.json()["error"]) >= {"message", "type", "param", "code"}


def test_what_is_refused_leaves_no_trace_in_the_store(client: httpx.Client, store: SqlStore) -> None:
    before = store.queries.counts().num_requests
    client.post(CHAT, json={**ASK, "n": 9})
    client.post(CHAT, json={**ASK, "max_tokens": 500})
    assert store.queries.counts().num_requests == before
