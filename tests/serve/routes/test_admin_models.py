"""Models over HTTP: from below the model root alone, beside the others or in the place of one, and noted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from banyan.core.model_directory import MANIFEST
from banyan.serve.model_choice import ModelChoice
from banyan.store.audit import list_audit
from banyan.store.keys import create_key
from banyan.store.sql_store import SqlStore, open_store
from banyan.testing.model_directories import save_tiny_model
from banyan.testing.serving import RunningServer, client_of_models

PATH = "/admin/models"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("root")
    for seed, name in enumerate(("models/one", "models/two", "outside")):
        save_tiny_model(folder / name, seed=seed)
    (folder / "models" / "escape").symlink_to(folder / "outside")
    (folder / "models" / "latest").symlink_to(folder / "models" / "two")
    (folder / "models" / "empty").mkdir()
    return folder / "models"


@pytest.fixture(scope="module")
def own_store() -> Iterator[SqlStore]:
    with open_store("sqlite://") as store:
        yield store


@pytest.fixture(scope="module")
def admin(root: Path, own_store: SqlStore) -> Iterator[httpx.Client]:
    choice = ModelChoice(directory=root / "one", name="main", device="cpu", num_slots=2, root=root)
    with client_of_models(choice, own_store) as client:
        yield client


def names(client: httpx.Client) -> dict[str, str]:
    listed = client.get(PATH).json()["data"]
    assert listed == client.get("/v1/models").json()["data"]
    return {model["id"]: model["sha256"] for model in listed}


def answers(client: httpx.Client, model: str) -> bool:
    body = {"model": model, "prompt": "a", "max_tokens": 1}
    return client.post("/v1/completions", json=body).status_code == 200


def test_a_model_is_opened_beside_swapped_and_taken_out_and_all_of_it_is_noted(
    admin: httpx.Client, own_store: SqlStore
) -> None:
    opened = admin.post(PATH, json={"name": "new", "directory": "latest"})
    assert opened.status_code == 200 and opened.json()["id"] == "new"
    assert list(names(admin)) == ["main", "new"] and answers(admin, "new") and answers(admin, "main")
    two = names(admin)["new"]
    assert admin.post(PATH, json={"name": "new", "directory": "one"}).json()["sha256"] == names(admin)["main"]
    assert admin.post(PATH, json={"name": "main", "directory": "two"}).json()["sha256"] == two
    assert list(names(admin)) == ["main", "new"] and answers(admin, "main")
    assert admin.delete(f"{PATH}/new").json() == {"id": "new", "object": "model.deleted", "deleted": True}
    assert list(names(admin)) == ["main"] and not answers(admin, "new")
    assert admin.delete(f"{PATH}/new").status_code == 404
    assert admin.delete(f"{PATH}/main").status_code == 409
    noted = [(entry.action, entry.object_id) for _, entry in list_audit(own_store.database, limit=5)]
    assert noted[1:] == [("model.unload", "new"), *[("model.load", name) for name in ("main", "new", "new")]]


@pytest.mark.parametrize(
    "named", ["http://a/b", "/etc", "../outside", "one/..", ".", "", "one//two", ".hidden", "a\\b", "~root", 5, ["one"]]
)
def test_only_plain_folders_may_be_named(admin: httpx.Client, named: Any) -> None:
    refused = admin.post(PATH, json={"name": "bad", "directory": named})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "directory")


@pytest.mark.parametrize(
    ("named", "status"), [("escape", 404), ("none", 404), ("empty", 400), ("one/" + MANIFEST, 404)]
)
def test_what_lies_elsewhere_or_is_no_model_is_refused_and_changes_nothing(
    admin: httpx.Client, root: Path, named: str, status: int
) -> None:
    before = names(admin)
    refused = admin.post(PATH, json={"name": "bad", "directory": named})
    assert refused.status_code == status and str(root) not in refused.text
    assert names(admin) == before


def test_a_server_without_a_model_root_keeps_its_models(server: RunningServer) -> None:
    key = create_key(server.store.database, name="keeper of models", scopes=("admin",)).secret
    with httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {key}"}, verify=False) as client:
        refused = client.post(PATH, json={"name": "a", "directory": "b"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "no_model_root")
        assert client.delete(f"{PATH}/tiny").status_code == 404
        assert client.get(PATH).status_code == 200
