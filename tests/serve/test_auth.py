"""No route answers without a key unless it is on the short list; there is one way in."""

from __future__ import annotations

import asyncio
import re
import threading
from typing import Any

import httpx
import pytest
from starlette.datastructures import Headers
from starlette.routing import Route

from banyan.serve.auth import PUBLIC_PATHS, bearer_token, ensure_first_key, is_public
from banyan.serve.local_model import LocalModel
from banyan.store.keys import create_key, revoke_key
from banyan.store.sql_store import SqlStore, open_store
from banyan.testing.serving import RunningServer, running_server


@pytest.fixture(scope="module")
def stranger(server: RunningServer) -> Any:
    with httpx.Client(base_url=server.url, timeout=30) as client:
        yield client


def all_routes(server: RunningServer) -> list[tuple[str, str]]:
    routes = [route for route in server.app.routes if isinstance(route, Route)]
    assert len(routes) == len(server.app.routes), "a mount would hide its routes from this test"
    return [(method, route.path) for route in routes for method in route.methods or ()]


def test_every_route_is_public_by_name_or_needs_a_key(server: RunningServer, stranger: httpx.Client) -> None:
    routes = all_routes(server)
    assert len(routes) >= 14
    for method, path in routes:
        response = stranger.request(method, re.sub(r"\{\w+\}", "x", path))
        if path in PUBLIC_PATHS or path == "/assets/{name}":
            assert response.status_code in (200, 404), path
        else:
            assert response.status_code == 401, path
            assert response.json()["error"]["code"] == "invalid_api_key"
            assert response.headers["WWW-Authenticate"] == "Bearer"


def test_the_public_list_is_as_short_as_the_design_says() -> None:
    assert sorted(PUBLIC_PATHS) == ["/", "/livez", "/openapi.json", "/readyz"]
    assert not is_public("POST", "/")
    assert not is_public("GET", "/assets")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "HEAD"])
@pytest.mark.parametrize("path", ["/v1/models", "/v1/nothing", "/", "/livez/", "//v1/models", "/%2e%2e/v1/models"])
def test_no_method_and_no_spelling_opens_a_route(stranger: httpx.Client, method: str, path: str) -> None:
    if path == "/" and method in ("GET", "HEAD"):
        return
    assert stranger.request(method, path).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Authorization", "")],
        [("Authorization", "Bearer")],
        [("Authorization", "Bearer wrong")],
        [("Authorization", "Basic {key}")],
        [("Authorization", "{key}")],
        [("Authorization", "Bearer {swapped}")],
        [("Authorization", "Bearer {key}"), ("Authorization", "Bearer {key}")],
        [("X-Api-Key", "{key}")],
    ],
)
def test_anything_but_one_right_key_is_refused_alike(
    server: RunningServer, stranger: httpx.Client, headers: list[tuple[str, str]]
) -> None:
    names = {"key": server.key, "swapped": server.key.swapcase()}
    response = stranger.get("/v1/models", headers=[(name, value.format(**names)) for name, value in headers])
    assert response.status_code == 401
    assert response.json()["error"]["message"] == "missing or invalid API key"


def test_a_key_in_the_query_is_not_read(server: RunningServer, stranger: httpx.Client) -> None:
    assert stranger.get(f"/v1/models?api_key={server.key}&key={server.key}").status_code == 401


def test_the_scheme_is_read_in_any_case(server: RunningServer, stranger: httpx.Client) -> None:
    for scheme in ("Bearer", "bearer", "BEARER"):
        assert stranger.get("/v1/models", headers={"Authorization": f"{scheme} {server.key}"}).status_code == 200


def test_a_revoked_key_is_refused_from_the_next_request_on(server: RunningServer, stranger: httpx.Client) -> None:
    created = create_key(server.store.database, name="leaver")
    headers = {"Authorization": f"Bearer {created.secret}"}
    assert stranger.get("/v1/models", headers=headers).status_code == 200
    revoke_key(server.store.database, created.key.key_id)
    assert stranger.get("/v1/models", headers=headers).status_code == 401


def test_a_key_without_the_scope_is_told_which_one_it_lacks(server: RunningServer, stranger: httpx.Client) -> None:
    reader = create_key(server.store.database, name="reader", scopes=("outputs",))
    headers = {"Authorization": f"Bearer {reader.secret}"}
    response = stranger.post("/v1/tasks/topic", json={"input": "a"}, headers=headers)
    assert response.status_code == 403
    assert response.json()["error"]["message"] == 'this key lacks scope "infer"'
    asker = create_key(server.store.database, name="asker", scopes=("infer",))
    assert stranger.get("/v1/outputs", headers={"Authorization": f"Bearer {asker.secret}"}).status_code == 403


def test_the_token_is_taken_as_it_is() -> None:
    assert bearer_token(Headers({"authorization": "bEaReR  AbC"})) == "AbC"
    assert bearer_token(Headers({"authorization": "BearerAbC"})) is None


def test_the_first_key_is_made_once() -> None:
    with open_store("sqlite://") as store:
        first = ensure_first_key(store)
        assert first is not None
        assert store.verify_key(first) is not None
        assert ensure_first_key(store) is None


def test_without_keys_only_the_address_itself_is_answered(model: LocalModel, store: SqlStore) -> None:
    with running_server(model, store, needs_key=False) as server, httpx.Client(base_url=server.url) as client:
        assert client.get("/v1/models").status_code == 200
        assert client.get("/v1/models", headers={"Host": "localhost:8000"}).status_code == 200
        for host in ("evil.example", "evil.example:8000", "127.0.0.1.evil.example", "[", ""):
            response = client.get("/v1/models", headers={"Host": host})
            assert response.status_code == 403, host
            assert response.json()["error"]["code"] == "host_not_allowed"


def test_keys_are_checked_while_all_common_threads_are_busy(server: RunningServer, client: httpx.Client) -> None:
    go = threading.Event()

    async def block() -> None:
        await asyncio.gather(*(asyncio.to_thread(go.wait, 30) for _ in range(64)))

    busy = asyncio.run_coroutine_threadsafe(block(), server.thread._loop)
    try:
        assert client.get("/v1/models").status_code == 200
        assert not busy.done()
    finally:
        go.set()
        busy.result(30)
