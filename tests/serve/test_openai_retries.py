"""The official client's own ways: it tries again when told to, reads typed answers, and hears what it may not do."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import openai
import pydantic
import pytest

from banyan.core.types import Completion, FinishReason
from banyan.runtime.loaded_model import LoadedModel
from banyan.serve.errors import ApiError, unavailable
from banyan.serve.served_model import Piece, PieceListener
from banyan.store.key_types import KeyLimits
from banyan.store.keys import create_key
from banyan.store.sql_store import open_store
from banyan.testing.serving import RunningServer, ScriptedModel, running_server

ASK: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 8}


class Script:
    """Fails as often as it is told to, then says something."""

    def __init__(self, *failures: ApiError, text: str = "at last") -> None:
        self.left = list(failures)
        self.text = text

    async def __call__(self, listener: PieceListener) -> Completion:
        if self.left:
            raise self.left.pop(0)
        listener(Piece(text=self.text, tokens=((1, -0.5),)))
        return Completion(token_ids=(1,), finish_reason=FinishReason.STOP)


def test_a_busy_server_is_asked_again_and_every_try_is_stored(loaded: LoadedModel) -> None:
    busy = [unavailable("overloaded", "not now", retry_after_seconds=0) for _ in range(2)]
    with open_store("sqlite://") as store, running_server(ScriptedModel(loaded, Script(*busy)), store) as server:
        with openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.key, max_retries=2) as client:
            assert client.chat.completions.create(**ASK).choices[0].message.content == "at last"
        assert [str(each.state) for each in store.queries.newest()] == ["completed", "failed", "failed"]


def test_the_async_client_tries_again_too(loaded: LoadedModel) -> None:
    async def run(url: str, key: str) -> str | None:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=1) as client:
            answer = await client.chat.completions.create(**ASK)
            return answer.choices[0].message.content

    script = Script(unavailable("overloaded", "not now", retry_after_seconds=0))
    with open_store("sqlite://") as store, running_server(ScriptedModel(loaded, script), store) as server:
        assert asyncio.run(run(server.url, server.key)) == "at last"


def test_a_typed_answer_is_parsed(loaded: LoadedModel) -> None:
    class Tree(pydantic.BaseModel):
        name: str
        trunks: int

    script = Script(text=json.dumps({"name": "banyan", "trunks": 9}))
    with open_store("sqlite://") as store, running_server(ScriptedModel(loaded, script), store) as server:
        with openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.key, max_retries=0) as client:
            answer = client.chat.completions.parse(**ASK, response_format=Tree)
        assert answer.choices[0].message.parsed == Tree(name="banyan", trunks=9)


def test_a_limit_is_the_clients_own_exception_with_the_time_to_wait(server: RunningServer) -> None:
    key = create_key(server.store.database, name="small", limits=KeyLimits(requests_per_minute=1)).secret
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0) as client:
        client.chat.completions.create(**ASK)
        with pytest.raises(openai.RateLimitError) as caught:
            client.chat.completions.create(**ASK)
    assert caught.value.code == "rate_limit_exceeded"
    assert 0 < int(caught.value.response.headers["Retry-After"]) <= 60


def test_a_key_without_the_scope_is_the_clients_own_exception(server: RunningServer) -> None:
    key = create_key(server.store.database, name="reader", scopes=("outputs",)).secret
    official = openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0)
    with official as client, pytest.raises(openai.PermissionDeniedError):
        client.chat.completions.create(**ASK)
