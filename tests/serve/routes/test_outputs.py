"""Stored answers found by meaning over HTTP: one's own alone, read little by little."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from banyan.runtime.loaded_model import LoadedModel
from banyan.serve.local_model import LocalModel
from banyan.serve.routes import outputs
from banyan.store.keys import create_key
from banyan.store.sql_store import open_store
from banyan.store.types import StoredAnswer, StoredOutput
from banyan.testing.serving import RunningServer, running_server
from banyan.testing.store import tiny_request

TEXTS = ("three apples", "Return the path.", "五个苹果")


@pytest.fixture
def own(model: LocalModel, tmp_path: Path) -> Iterator[RunningServer]:
    """A server whose store holds three answers of somebody else."""
    with open_store(f"sqlite:///{tmp_path / 'own.db'}") as store, running_server(model, store) as server:
        for text in TEXTS:
            store.record(tiny_request(), StoredAnswer(outputs=(StoredOutput(text=text),))).result(10)
        yield server


@pytest.fixture
def admin(own: RunningServer) -> Iterator[httpx.Client]:
    key = create_key(own.store.database, name="admin", scopes=("outputs", "admin")).secret
    with httpx.Client(base_url=own.url, headers={"Authorization": f"Bearer {key}"}, verify=False) as client:
        yield client


def search(client: httpx.Client, text: str, **fields: str | int) -> httpx.Response:
    return client.get("/v1/outputs", params={"similar": text, **fields})


def test_the_nearest_answer_comes_first_with_its_cosine(admin: httpx.Client, loaded: LoadedModel) -> None:
    answer = search(admin, TEXTS[0]).json()
    found = {row["outputs"][0]["text"]: row["similarity"] for row in answer["data"]}
    assert next(iter(found)) == TEXTS[0] and list(found.values()) == sorted(found.values(), reverse=True)
    expected = loaded.embed(TEXTS) @ loaded.embed(TEXTS[0])[0]
    assert [found[text] for text in TEXTS] == pytest.approx(expected.tolist(), abs=1e-5)
    assert (answer["has_more"], answer["num_unread"]) == (False, 0)


def test_what_others_were_answered_is_not_found(own: RunningServer) -> None:
    with own.client() as client:
        assert search(client, TEXTS[0]).json()["data"] == []


def test_a_search_reads_so_many_new_answers_and_the_next_one_goes_on(
    admin: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outputs, "_MAX_NEW_VECTORS", 2)
    answers = [search(admin, TEXTS[0]).json() for _ in range(2)]
    assert [(len(answer["data"]), answer["num_unread"]) for answer in answers] == [(2, 1), (3, 0)]


def test_a_search_of_which_the_time_is_over_gives_what_it_has_and_goes_on_from_there(
    model: LocalModel, tmp_path: Path
) -> None:
    with (
        open_store(f"sqlite:///{tmp_path / 'own.db'}") as store,
        running_server(model, store, search_seconds=0) as server,
    ):
        key = store.verify_key(server.key)
        assert key is not None
        keys = [
            store.record(tiny_request(api_key_id=key.key_id, body={"prompt": text}), StoredAnswer()).result(10)
            for text in ("an oak", "a pine", "no tree")
        ]
        with server.client() as client:
            pages = [client.get("/v1/outputs", params={"q": "oak"}).json()]
            while pages[-1]["has_more"]:
                query = {"q": "oak", "before": pages[-1]["next_before"]}
                pages.append(client.get("/v1/outputs", params=query).json())
    assert [[row["id"] for row in page["data"]] for page in pages] == [[], [], [keys[0]]]


def test_a_search_by_meaning_goes_with_no_other_search(admin: httpx.Client) -> None:
    for more in ({"q": "text"}, {"before": "0" * 26}):
        refused = search(admin, TEXTS[0], **more)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_value")
