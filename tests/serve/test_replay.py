import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from banyan.core.errors import CheckpointError, InputError
from banyan.infer.sampling import SamplingConfig
from banyan.runtime.loaded_model import LoadedModel
from banyan.runtime.loading import load
from banyan.serve.replay import Replayer, differences
from banyan.serve.settings import ServerSettings
from banyan.store.sql_store import SqlStore
from banyan.store.types import RequestState, StoredExchange, StoredOutput
from banyan.workflows.answer_records import AnswerRecorder
from banyan.workflows.prediction import predict_texts
from banyan.workflows.speaking import continue_text

CHAT: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "独木成林？"}], "max_tokens": 12}
ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", {**CHAT, "temperature": 1.0, "n": 2}),
    "streamed chat": ("/v1/chat/completions", {**CHAT, "stream": True, "temperature": 1.3}),
    "completions": ("/v1/completions", {"model": "tiny", "prompt": ["The banyan", "def add("], "max_tokens": 9}),
    "vectors": ("/v1/embeddings", {"model": "tiny", "input": ["one tree", "a whole forest"]}),
    "pictures": ("/v1/images/generations", {"prompt": "a seven", "n": 2, "temperature": 1.0}),
    "labels": ("/v1/tasks/{classification}", {"inputs": ["The banyan grows", "What?"]}),
    "tags": ("/v1/tasks/{tagging}", {"input": "Ada Lovelace met Charles Babbage"}),
    "beams": ("/v1/completions", {"model": "tiny", "prompt": "The", "max_tokens": 6, "num_beams": 3, "temperature": 0}),
}


@pytest.fixture(scope="module")
def replayer(model_directory: Path) -> Iterator[Replayer]:
    with load(model_directory, device="cpu", num_slots=2 + 5) as other, Replayer(other) as replayer:
        yield replayer  # another process' model, with other slots


def ask(client: httpx.Client, store: SqlStore, loaded: LoadedModel, kind: str) -> StoredExchange:
    path, body = ASKED[kind]
    names = {task.kind: task.name for task in loaded.tasks.values()}
    answer = client.post(path.format(**names), json=body)
    assert answer.status_code == 200, answer.text
    return store.queries.show(answer.headers["x-request-id"])


@pytest.mark.parametrize("kind", ASKED)
def test_a_stored_answer_can_be_given_again_byte_for_byte(
    client: httpx.Client, store: SqlStore, loaded: LoadedModel, replayer: Replayer, kind: str
) -> None:
    exchange = ask(client, store, loaded, kind)
    replay = replayer.replay(exchange)
    assert replay.is_same and replay.num_outputs == len(exchange.answer.outputs if exchange.answer else ())


def test_an_answer_that_had_to_be_quick_may_take_its_time_when_it_is_given_again(
    client: httpx.Client, store: SqlStore, loaded: LoadedModel, replayer: Replayer
) -> None:
    exchange = ask(client, store, loaded, "chat")
    body = {**exchange.request.body, "timeout_seconds": 1e-9}
    assert replayer.replay(replace(exchange, request=replace(exchange.request, body=body))).is_same


def test_a_body_as_large_as_the_server_takes_can_be_sent_again(
    client: httpx.Client, store: SqlStore, replayer: Replayer
) -> None:
    body = {"model": "tiny", "prompt": "a", "max_tokens": 1, "user": "树" * 20_000, "metadata": {"ids": [7] * 400_000}}
    raw = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    assert len(json.dumps(body)) > ServerSettings().max_body_bytes > len(raw.encode())
    answer = client.post("/v1/completions", content=raw.encode(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 200, answer.text
    assert replayer.replay(store.queries.show(answer.headers["x-request-id"])).is_same


def test_what_commands_answered_can_be_given_again(tmp_path: Path, loaded: LoadedModel, replayer: Replayer) -> None:
    sampling = SamplingConfig(temperature=1.0, seed=7, max_tokens=9)
    database = f"sqlite:///{tmp_path / 'a.db'}"
    label_task = loaded.task_of_kind("classification").name
    with AnswerRecorder(loaded, endpoint="predict", database=database) as recorder:
        predict_texts(loaded, label_task, ["one", "two"], sampling=None, recorder=recorder)
    with AnswerRecorder(loaded, endpoint="generate", database=database) as recorder:
        continue_text(loaded, "The banyan", sampling=sampling, recorder=recorder)
        assert recorder._store is not None
        found = recorder._store.queries.newest()
    assert len(found) == 3 and all(replayer.replay(exchange).is_same for exchange in found)


def test_what_cannot_be_given_again_is_refused_in_one_line(
    client: httpx.Client, store: SqlStore, loaded: LoadedModel, replayer: Replayer
) -> None:
    exchange = ask(client, store, loaded, "chat")
    with pytest.raises(CheckpointError, match="another model gives another answer"):
        replayer.replay(replace(exchange, request=replace(exchange.request, model_sha256="f" * 64)))
    with pytest.raises(InputError, match="only completed answers"):
        replayer.replay(replace(exchange, state=RequestState.CANCELLED))
    with pytest.raises(InputError, match="not stored in full"):
        replayer.replay(replace(exchange, request=replace(exchange.request, body={})))


def test_every_difference_is_named() -> None:
    one = StoredOutput(text="a", token_ids=(1, 2), prediction={"score": 0.5})
    assert differences([one], [one]) == []
    assert differences([one], [replace(one, text="b", token_ids=(1, 3))]) == ["choice 0: text", "choice 0: token_ids"]
    assert differences([one], []) == ["1 choices then, 0 now"]
