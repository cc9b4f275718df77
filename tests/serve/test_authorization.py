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
SCOPES = {"asker": "infer", "reader": "outputs", "scraper": "metrics", "watcher": "runs", "boss": "admin"}
OTHER_METHODS = ("PUT", "PATCH", "OPTIONS", "TRACE")


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


def guarded(server: RunningServer) -> set[tuple[str, str]]:
    routes: list[Any] = [route for route in server.app.routes if isinstance(route, Route)]
    pairs = {(method, route.path) for route in routes for method in route.methods or ()}
    return {(method, path) for method, path in pairs if not is_public(method, path)}


def test_the_table_is_complete(server: RunningServer) -> None:
    assert guarded(server) == set(NEEDS), "a new route needs its line in the table above"


@pytest.mark.parametrize("who", [*SCOPES, "revoked", "expired", "garbage", "nobody"])
def test_a_key_opens_what_its_scope_says_and_nothing_else(
    stranger: httpx.Client, secrets: dict[str, str], who: str
) -> None:
    headers = {"Authorization": f"Bearer {secrets[who]}"} if secrets[who] else {}
    for (method, path), needed in NEEDS.items():
        url = re.sub(r"\{\w+\}", "x", path)
        status = stranger.request(method, url, headers=headers, json={} if method == "POST" else None).status_code
        if who not in SCOPES:
            assert status == 401, (method, path)
        elif needed in (ANY, SCOPES[who]) or who == "boss":
            assert status in (200, 400, 404), (method, path)
        else:
            assert status == 403, (method, path)


def test_no_method_outside_the_table_does_anything(stranger: httpx.Client, secrets: dict[str, str]) -> None:
    headers = {"Authorization": f"Bearer {secrets['boss']}"}
    for path in {path for _, path in NEEDS}:
        url = re.sub(r"\{\w+\}", "x", path)
        for method in OTHER_METHODS:
            assert stranger.request(method, url, headers=headers).status_code == 405, (method, path)
        assert stranger.get(f"{url}/", headers=headers).status_code == 404, path
