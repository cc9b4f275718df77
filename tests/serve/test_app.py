"""The description of the API is true, and every answer carries the headers that keep it safe."""

from __future__ import annotations

import httpx
import pytest
from starlette.routing import Route

from banyan.serve.auth import is_public
from banyan.serve.routes import health
from banyan.testing.serving import RunningServer


def test_the_description_lists_every_route_and_every_body(server: RunningServer, client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    routes = {
        (method, route.path)
        for route in server.app.routes
        if isinstance(route, Route) and route.include_in_schema
        for method in route.methods or ()
    }
    assert described == routes
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert ("requestBody" in operation) == (method == "post")
            assert operation["security"] == ([] if is_public(method.upper(), path) else [{"key": []}])
    schemas = document["components"]["schemas"]
    assert schemas["ChatRequest"]["required"] == ["model", "messages"]
    assert schemas["ChatRequest"]["additionalProperties"] is False
    assert "Idempotency-Key" in document["info"]["description"]


def test_the_description_is_made_once_however_often_a_stranger_asks(
    server: RunningServer, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = client.get("/openapi.json")
    monkeypatch.setattr(health, "describe", None)
    again = httpx.get(f"{server.url}/openapi.json", verify=False)
    assert (again.content, again.headers["Content-Type"]) == (first.content, "application/json")


@pytest.mark.parametrize("path", ["/", "/livez", "/v1/models", "/v1/nothing", "/assets/style.css", "/assets/x"])
def test_every_answer_is_numbered_and_cannot_be_taken_for_something_else(client: httpx.Client, path: str) -> None:
    response = client.get(path)
    assert len(response.headers["X-Request-Id"]) == 26
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cache-Control"] in ("no-store", "no-cache")
    assert "Server" not in response.headers
    assert "Access-Control-Allow-Origin" not in response.headers


def test_every_request_gets_a_number_of_its_own(client: httpx.Client) -> None:
    numbers = {client.get("/livez", headers={"X-Request-Id": "mine"}).headers["X-Request-Id"] for _ in range(5)}
    assert len(numbers) == 5
    assert "mine" not in numbers


def test_what_a_list_of_tasks_may_be_asked_is_described_and_nothing_else_is_taken(client: httpx.Client) -> None:
    operation = client.get("/openapi.json").json()["paths"]["/v1/tasks"]["get"]
    assert [(each["name"], each["in"]) for each in operation["parameters"]] == [("model", "query")]
    refused = client.get("/v1/tasks", params={"modle": "tiny"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "unknown_field")


def test_tasks_tell_what_a_page_needs_to_ask_them(client: httpx.Client) -> None:
    tasks = {task["name"]: task for task in client.get("/v1/tasks").json()["data"]}
    assert tasks["topic"]["labels"] == ["tree", "树"]
    assert tasks["draw"]["sizes"][0] == "4x4"
    assert {task["kind"] for task in tasks.values()} >= {"classification", "tagging", "question_answering", "dialogue"}
