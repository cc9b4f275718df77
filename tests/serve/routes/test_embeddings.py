"""Vectors over HTTP: the model's own, in the shapes of the OpenAI protocol, refused in its words, stored as bytes."""

from __future__ import annotations

import base64
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from banyan.core.errors import InputError
from banyan.infer import worker
from banyan.infer.scoring import run_jobs
from banyan.runtime.loaded_model import LoadedModel
from banyan.serve.schemas import MAX_EMBEDDED
from banyan.store.keys import create_key
from banyan.store.sql_store import SqlStore
from banyan.store.types import RequestState, StoredExchange
from banyan.testing.serving import RunningServer

PATH = "/v1/embeddings"
TEXTS = ["three days ago", "三天前"]


def ask(client: httpx.Client, given: Any, **fields: Any) -> httpx.Response:
    return client.post(PATH, json={"model": "tiny", "input": given, **fields})


def vectors(response: httpx.Response) -> NDArray[np.float32]:
    assert response.status_code == 200, response.text
    return np.array([item["embedding"] for item in response.json()["data"]], dtype=np.float32)


def newest(store: SqlStore) -> StoredExchange:
    return next(store.queries.iterate())


def test_texts_get_the_vectors_that_python_gives_them(client: httpx.Client, loaded: LoadedModel) -> None:
    answer = ask(client, TEXTS)
    np.testing.assert_allclose(vectors(answer), loaded.embed(TEXTS), atol=1e-6)
    body = answer.json()
    assert (body["object"], body["model"]) == ("list", "tiny")
    assert [(item["object"], item["index"]) for item in body["data"]] == [("embedding", 0), ("embedding", 1)]
    num_tokens = sum(1 + len(loaded.vocabulary.encode(text)) for text in TEXTS)
    assert body["usage"] == {"prompt_tokens": num_tokens, "total_tokens": num_tokens}


def test_the_four_ways_to_write_an_input_mean_the_same(client: httpx.Client, loaded: LoadedModel) -> None:
    token_ids = [loaded.vocabulary.bos_id, *loaded.vocabulary.encode(TEXTS[0])]
    found = [vectors(ask(client, given)) for given in (TEXTS[0], [TEXTS[0]], token_ids, [token_ids])]
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], atol=1e-6)


def test_base64_holds_the_same_numbers(client: httpx.Client) -> None:
    (item,) = ask(client, TEXTS[0], encoding_format="base64").json()["data"]
    numbers = np.frombuffer(base64.b64decode(item["embedding"]), "<f4")
    np.testing.assert_allclose(numbers, vectors(ask(client, TEXTS[0], encoding_format="float"))[0], atol=1e-6)


def test_pooling_and_layer_can_be_asked_for(client: httpx.Client, loaded: LoadedModel) -> None:
    found = vectors(ask(client, TEXTS, pooling="last", layer=0))
    np.testing.assert_allclose(found, loaded.embed(TEXTS, pooling="last", layer=0), atol=1e-6)


def test_a_long_input_is_refused_unless_windows_are_asked_for(client: httpx.Client, loaded: LoadedModel) -> None:
    long = "one tree at a time, " * 30
    refused = ask(client, ["short", long])
    assert refused.status_code == 400
    error = refused.json()["error"]
    assert (error["code"], error["n_ctx"]) == ("context_length_exceeded", loaded.max_seq_len)
    assert "text 2" in error["message"]
    np.testing.assert_allclose(vectors(ask(client, long, long_input="windows")), loaded.embed(long), atol=1e-6)


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"input": ""}, "empty_input", "input"),
        ({"input": []}, "empty_input", "input"),
        ({"input": ["fine", ""]}, "empty_input", "input"),
        ({"input": [[]]}, "empty_input", "input"),
        ({"input": 5}, "invalid_type", "input"),
        ({"input": ["fine", 5]}, "invalid_type", "input"),
        ({"input": [1, "fine"]}, "invalid_value", "input"),
        ({"input": [-1]}, "invalid_value", "input"),
        ({"input": [10**9]}, "invalid_value", None),
        ({"input": ["a"] * (MAX_EMBEDDED + 1)}, "out_of_range", "input"),
        ({"input": "a", "encoding_format": "hex"}, "invalid_value", "encoding_format"),
        ({"input": "a", "dimensions": 16}, "unsupported_value", "dimensions"),
        ({"input": "a", "dimensions": 0}, "out_of_range", "dimensions"),
        ({"input": "a", "pooling": "max"}, "invalid_value", "pooling"),
        ({"input": "a", "layer": 9}, "invalid_value", None),
        ({"input": "a", "layer": 1.5}, "invalid_type", "layer"),
        ({"input": "a", "long_input": "cut"}, "invalid_value", "long_input"),
        ({"input": "a", "inputs": "a"}, "unknown_field", "inputs"),
        ({}, "missing_field", "input"),
    ],
)
def test_what_cannot_be_embedded_is_refused_by_name(
    client: httpx.Client, fields: dict[str, Any], code: str, param: str | None
) -> None:
    response = client.post(PATH, json={"model": "tiny", **fields})
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (400, code, param)


def test_the_models_own_width_may_be_asked_for(client: httpx.Client, loaded: LoadedModel) -> None:
    embed_dim = loaded.model.config.embed_dim
    assert vectors(ask(client, "a", dimensions=embed_dim)).shape == (1, embed_dim)


def test_other_models_are_not_found(client: httpx.Client) -> None:
    assert client.post(PATH, json={"model": "other", "input": "a"}).json()["error"]["code"] == "model_not_found"


def test_every_vector_is_stored_as_bytes_with_the_question(client: httpx.Client, store: SqlStore) -> None:
    answer = ask(client, TEXTS)
    stored = newest(store)
    assert stored.request.request_id == answer.headers["X-Request-Id"]
    assert (stored.state, stored.request.endpoint, stored.request.num_choices) == (RequestState.COMPLETED, PATH, 2)
    assert stored.request.body == {"model": "tiny", "input": TEXTS}
    assert stored.request.num_prompt_tokens == answer.json()["usage"]["prompt_tokens"]
    assert stored.answer is not None
    for output, vector in zip(stored.answer.outputs, vectors(answer), strict=True):
        (artifact,) = output.artifacts
        assert (output.text, artifact.media_type) == ("", "application/x-float32-le")
        np.testing.assert_array_equal(np.frombuffer(artifact.data, "<f4"), vector)


def test_a_stored_vector_is_shown_as_base64_and_not_as_a_picture(client: httpx.Client, store: SqlStore) -> None:
    vector = vectors(ask(client, TEXTS[1]))[0]
    (output,) = client.get(f"/v1/outputs/{newest(store).request.request_id}").json()["outputs"]
    assert output["images"] == []
    np.testing.assert_array_equal(np.frombuffer(base64.b64decode(output["vectors"][0]), "<f4"), vector)


class Rounds:
    """The engine's rounds, two of them as a test allows, so that no other thread's pace decides what it sees."""

    def __init__(self) -> None:
        self.first_has_begun, self.first_may_go_on, self.others_may_begin = (Event() for _ in range(3))
        self._is_second = False

    def __call__(self, *arguments: Any, **limits: Any) -> None:
        if not self.first_has_begun.is_set():
            self.first_has_begun.set()
            self.first_may_go_on.wait(30)
        elif not self._is_second:
            self._is_second = True
        else:
            self.others_may_begin.wait(30)
        run_jobs(*arguments, **limits)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        """Let a test that has failed end at once."""
        self.first_may_go_on.set()
        self.others_may_begin.set()


def test_a_few_texts_of_one_key_do_not_wait_for_the_many_of_another(
    server: RunningServer, client: httpx.Client, loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = create_key(server.store.database, name="few texts").secret
    many = [f"{number} trees stand in the wood" * 4 for number in range(400)]
    rounds = Rounds()
    monkeypatch.setattr(worker, "run_jobs", rounds)
    with (
        ThreadPoolExecutor() as pool,
        httpx.Client(
            base_url=server.url, headers={"Authorization": f"Bearer {other}"}, verify=False, timeout=30
        ) as stranger,
        rounds,
    ):
        large = pool.submit(ask, client, many)
        assert rounds.first_has_begun.wait(30)  # all of the many have come, and some of them are being read
        num_waiting = loaded.engine.num_waiting
        few = pool.submit(ask, stranger, "a tree")
        while loaded.engine.num_waiting == num_waiting and not few.done():
            time.sleep(0.001)
        rounds.first_may_go_on.set()
        vectors(few.result())
        assert loaded.engine.num_waiting > 0 and not large.done()
        rounds.others_may_begin.set()
        assert len(vectors(large.result())) == len(many)


def test_a_model_that_fails_leaves_a_failed_record(
    client: httpx.Client, store: SqlStore, loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> list[Any]:
        raise InputError("it broke")

    monkeypatch.setattr(loaded.engine, "submit_texts", broken)
    assert ask(client, "a").status_code == 400
    assert (newest(store).state, newest(store).request.task_kind) == (RequestState.FAILED, "embedding")
