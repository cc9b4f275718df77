"""Keys over HTTP: only for administrators, only with known rights, and every change has a name to it."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from banyan.store.audit import list_audit
from banyan.store.key_types import SCOPES
from banyan.store.keys import create_key, find_key
from banyan.testing.serving import RunningServer


@pytest.fixture(scope="module")
def admin(server: RunningServer) -> Iterator[httpx.Client]:
    key = create_key(server.store.database, name="keeper of keys", scopes=("admin",)).secret
    with httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {key}"}, verify=False) as client:
        yield client


def test_a_key_is_made_used_changed_and_revoked(server: RunningServer, admin: httpx.Client) -> None:
    made = admin.post(
        "/admin/keys", json={"name": "guest", "limits": {"max_concurrent": 3}, "expires_at": "2999-01-01"}
    )
    key = made.json()
    headers = {"Authorization": f"Bearer {key['secret']}"}
    assert (key["limits"], key["scopes"]) == ({"max_concurrent": 3}, ["infer", "outputs"])
    assert httpx.get(f"{server.url}/v1/models", headers=headers, verify=False).status_code == 200
    changed = admin.post(f"/admin/keys/{key['id']}", json={"store_mode": "hash", "training_ok": True}).json()
    assert (changed["store_mode"], changed["training_ok"], changed["limits"]) == ("hash", True, {"max_concurrent": 3})
    assert admin.delete(f"/admin/keys/{key['id']}").json()["state"] == "revoked"
    assert httpx.get(f"{server.url}/v1/models", headers=headers, verify=False).status_code == 401
    listed = admin.get("/admin/keys")
    assert key["id"] in listed.text and key["secret"] not in listed.text
    boss = find_key(server.store.database, "keeper of keys").key_id
    done = [(entry.action, entry.actor) for _, entry in list_audit(server.store.database, limit=3)]
    assert done == [("key.revoke", boss), ("key.change", boss), ("key.create", boss)]


@pytest.mark.parametrize("scope", [scope for scope in SCOPES if scope != "admin"])
def test_no_other_scope_opens_them(server: RunningServer, scope: str) -> None:
    key = create_key(server.store.database, name="small", scopes=(scope,))
    for method, path in (("GET", ""), ("POST", ""), ("POST", f"/{key.key.key_id}"), ("DELETE", f"/{key.key.key_id}")):
        url, headers = f"{server.url}/admin/keys{path}", {"Authorization": f"Bearer {key.secret}"}
        assert httpx.request(method, url, headers=headers, verify=False).status_code == 403


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "missing_field"),
        ({"name": " "}, "empty_input"),
        ({"name": "x", "scopes": ["root"]}, "invalid_value"),
        ({"name": "x", "scopes": []}, "invalid_value"),
        ({"name": "x", "limits": {"max_concurrent": 0}}, "out_of_range"),
        ({"name": "x", "limits": {"rpm": 5}}, "unknown_field"),
        ({"name": "x", "store_mode": "some"}, "invalid_value"),
        ({"name": "x", "expires_at": "2001-01-01"}, "out_of_range"),
        ({"name": "x", "expires_at": "soon"}, "invalid_value"),
        ({"name": "x", "expires_at": "9999-12-31T23:59-12:00"}, "out_of_range"),
    ],
)
def test_rights_that_mean_nothing_are_refused(admin: httpx.Client, body: dict[str, object], code: str) -> None:
    refused = admin.post("/admin/keys", json=body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, code)


def test_a_key_that_never_was_is_missing(admin: httpx.Client) -> None:
    assert admin.post("/admin/keys/nobody", json={}).status_code == 404
    assert admin.delete("/admin/keys/nobody").status_code == 404
