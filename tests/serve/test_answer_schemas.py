"""What the description says of answers is true: real ones are read with its schemas, field for field."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from banyan.serve.answer_schemas import ANSWERS
from banyan.serve.model_choice import ModelChoice
from banyan.store.keys import create_key
from banyan.store.sql_store import SqlStore
from banyan.testing.recorded_runs import record_tiny_run
from banyan.testing.serving import client_of_models

HELLO = [{"role": "user", "content": "hello"}]
FILLED: dict[tuple[str, str], list[dict[str, Any]]] = {
    ("POST", "/v1/chat/completions"): [
        {"model": "tiny", "messages": HELLO, "max_tokens": 3},
        {"model": "tiny", "messages": HELLO, "max_tokens": 3, "logprobs": True, "n": 2},
    ],
    ("POST", "/v1/completions"): [
        {"model": "tiny", "prompt": "a", "max_tokens": 3},
        {"model": "tiny", "prompt": ["a", "b"], "max_tokens": 3, "logprobs": 0},
    ],
    ("POST", "/v1/embeddings"): [
        {"model": "tiny", "input": "a"},
        {"model": "tiny", "input": "a", "encoding_format": "base64"},
    ],
    ("POST", "/v1/images/generations"): [{"prompt": "a seven", "n": 2}],
    ("POST", "/v1/tasks/topic"): [{"input": "a tree"}, {"inputs": ["a", "b"]}],
    ("POST", "/v1/tasks/tags"): [{"input": "an oak in Berlin"}],
    ("POST", "/tokenize"): [{"prompt": "a"}],
    ("POST", "/detokenize"): [{"tokens": [5]}],
    ("POST", "/v1/feedback"): [{"id": "{output}", "rating": 1}],
    ("POST", "/admin/keys"): [{"name": "guest", "limits": {"max_concurrent": 1}}],
    ("POST", "/admin/keys/{key}"): [{"training_ok": True}],
    ("POST", "/admin/models"): [{"name": "spare", "directory": "tiny"}],
}
PLACES = {
    "{output_id}": "{output}",
    "{key_id}": "{key}",
    "{run_id}": "{run}",
    "/admin/models/{name}": "/admin/models/spare",
    "/models/{name}": "/models/tiny",
}


@pytest.fixture(scope="module")
def boss(model_directory: Path, store: SqlStore) -> Iterator[httpx.Client]:
    choice = ModelChoice(directory=model_directory, device="cpu", num_slots=2, root=model_directory.parent)
    with client_of_models(choice, store) as client:
        yield client


def filled() -> list[tuple[str, str, str, dict[str, Any] | None]]:
    """Every route as it stands in the table, with a path and a body to ask it; deletions last."""
    asked: list[tuple[str, str, str, dict[str, Any] | None]] = []
    for method, path in sorted(ANSWERS, key=lambda route: route[0] == "DELETE"):
        real = path
        for place, value in PLACES.items():
            real = real.replace(place, value)
        pattern = re.compile(re.sub(r"\{\w+\}", "[^/]+", path))
        bodies = [
            (where, body) for (_, where), several in FILLED.items() if pattern.fullmatch(where) for body in several
        ]
        asked += [(method, path, *pair) for pair in bodies] if method == "POST" else [(method, path, real, None)]
    return asked


def test_every_answer_is_what_the_description_says(store: SqlStore, boss: httpx.Client, tmp_path: Path) -> None:
    names = {
        "{output}": boss.post("/v1/completions", json={"model": "tiny", "prompt": "a", "max_tokens": 2}).json()["id"],
        "{key}": create_key(store.database, name="other").key.key_id,
        "{run}": record_tiny_run(store, tmp_path / "grove"),
    }
    seen = set()
    for method, route, path, body in filled():
        for place, value in names.items():
            path = path.replace(place, value)
            body = body and {name: value if given == place else given for name, given in body.items()}
        answer = boss.request(method, path, json=body)
        assert answer.status_code == 200, (method, path, answer.text)
        schema = ANSWERS[method, route]
        if schema is not None:
            schema.model_validate_json(answer.content)
        seen.add((method, route))
    assert seen == set(ANSWERS)


def test_the_description_refers_to_nothing_that_is_not_in_it(client: httpx.Client) -> None:
    answer = client.get("/openapi.json")
    known = answer.json()["components"]["schemas"]
    assert set(re.findall(r"#/components/schemas/([\w]+)", answer.text)) <= set(known)
    for path, methods in answer.json()["paths"].items():
        for method, operation in methods.items():
            content = operation["responses"]["200"]["content"]
            assert content, (method, path)
            assert operation["responses"]["default"]["content"]["application/json"]["schema"]
            assert operation["summary"] and operation["description"]
            assert {place["name"] for place in operation.get("parameters", []) if place["in"] == "path"} == set(
                re.findall(r"\{(\w+)\}", path)
            )
