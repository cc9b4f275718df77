"""Every route, every method and every kind of key: who may do what stands in one table, and the table is complete."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from starlette.routing import Route

from banyan.serve.auth import is_public
from banyan.store.keys import create_key, revoke_key
from banyan.testing.serving import RunningServer

ANY = ""  # any valid key will do
NEEDS: dict[tuple[str, str], str] = {
    ("POST", "/v1/chat/completions"): "infer",
    ("POST", "/v1/completions"): "infer",
    ("POST", "/v1/embeddings"): "infer",
    ("POST", "/v1/images/generations"): "infer",
    ("POST", "/v1/tasks/{name}"): "infer",
    ("POST", "/tokenize"): "infer",
    ("POST", "/detokenize"): "infer",
    ("GET", "/v1/tasks"): ANY,
    ("GET", "/v1/models"): ANY,
    ("GET", "/v1/models/{name}"): ANY,
    ("GET", "/v1/outputs"): "outputs",
    ("GET", "/v1/outputs/{output_id}"): "outputs",
    ("DELETE", "/v1/outputs/{output_id}"): "outputs",
    ("POST", "/v1/feedback"): "outputs",
    ("GET", "/v1/runs"): "runs",
    ("GET", "/v1/runs/{run_id}"): "runs",
    ("GET", "/v1/runs/{run_id}/samples"): "runs",
    ("GET", "/metrics"): "metrics",
    ("GET", "/admin/keys"): "admin",
    ("POST", "/admin/keys"): "admin",
    ("POST", "/admin/keys/{key_id}"): "admin",
    ("DELETE", "/admin/keys/{key_id}"): "admin",
    ("GET", "/admin/models"): "admin",
    ("POST", "/admin/models"): "admin",
    ("DELETE", "/admin/models/{name}"): "admin",
}
PUBLIC = {"/": 200, "/livez": 200, "/readyz": 200, "/openapi.json": 200, "/assets/{name}": 404}  # there is no asset x
SCOPES = {"asker": "infer", "reader": "outputs", "scraper": "metrics", "watcher": "runs", "boss": "admin"}
PRINCIPALS = (*SCOPES, "revoked", "expired", "garbage", "nobody")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


@pytest.fixture(scope="module")
def secrets(server: RunningServer) -> dict[str, str]:
    database = server.store.database
    found = {name: create_key(database, name=name, scopes=(scope,)).secret for name, scope in SCOPES.items()}
    gone = create_key(database, name="gone", scopes=("admin",))
    revoke_key(database, gone.key.key_id)
    past = create_key(database, name="past", scopes=("admin",), expires_at=1)
    return {**found, "revoked": gone.secret, "expired": past.secret, "garbage": "bny_garbage", "nobody": ""}


@pytest.fixture(scope="module")
def stranger(server: RunningServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=30, verify=False) as client:
        yield client


def routes_of(server: RunningServer) -> set[tuple[str, str]]:
    routes: list[Any] = [route for route in server.app.routes if isinstance(route, Route)]
    return {(method, route.path) for route in routes for method in route.methods or ()}


def url_of(path: str) -> str:
    return re.sub(r"\{\w+\}", "x", path)


def expected(method: str, path: str, who: str) -> set[int]:
    """What one cell of the matrix may answer: the scope is checked before the body, the key before everything."""
    if is_public(method, url_of(path)):
        return {PUBLIC[path] if method == "GET" else 405}
    if who not in SCOPES:
        return {401}
    if (method, path) not in NEEDS:
        return {405}
    needed = NEEDS[method, path]
    return {200, 400, 404} if needed in (ANY, SCOPES[who]) or who == "boss" else {403}


def test_the_table_is_complete(server: RunningServer) -> None:
    routes = routes_of(server)
    assert routes == {*NEEDS, *(("GET", path) for path in PUBLIC)}, "a new route needs its line in a table above"


@pytest.mark.parametrize("who", PRINCIPALS)
def test_every_route_and_method_does_for_a_key_what_the_table_says_and_nothing_else(
    server: RunningServer, stranger: httpx.Client, secrets: dict[str, str], who: str
) -> None:
    headers = {"Authorization": f"Bearer {secrets[who]}"} if secrets[who] else {}
    paths = sorted({path for _, path in routes_of(server)})
    found = {
        (method, path): stranger.request(
            method, url_of(path), headers=headers, json={} if method in ("POST", "PUT", "PATCH") else None
        ).status_code
        for path in paths
        for method in METHODS
    }
    assert not {cell: status for cell, status in found.items() if status not in expected(*cell, who)}


def test_no_other_spelling_of_a_path_is_a_route(stranger: httpx.Client, secrets: dict[str, str]) -> None:
    for who, status in (("boss", 404), ("nobody", 401)):
        headers = {"Authorization": f"Bearer {secrets[who]}"} if secrets[who] else {}
        for path in {path for method, path in NEEDS if method == "GET"}:
            for spelt in (f"{path}/", f"/{path}", f"{path};x=1/y", path.upper(), f"/%2e%2e{path}"):
                request = stranger.build_request("GET", stranger.base_url, headers=headers)
                request.url = request.url.copy_with(raw_path=url_of(spelt).encode())
                assert stranger.send(request).status_code == status, (who, spelt)
