"""What is answered is what is stored, for every endpoint, streamed or not, well ended or not."""

from __future__ import annotations

import asyncio
import base64
import json
from concurrent.futures import Future
from hashlib import sha256
from typing import Any

import httpx
import numpy as np
import pytest

from banyan.runtime.loaded_model import LoadedModel
from banyan.serve.errors import ApiError
from banyan.serve.recording import Record, Recorder
from banyan.store.dataset_export import training_rows
from banyan.store.keys import create_key
from banyan.store.sql_store import SqlStore
from banyan.store.types import RequestState, StoredAnswer, StoredExchange, StoredRequest
from banyan.testing.serving import RunningServer
from banyan.testing.store import tiny_request

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
MESSAGES = [{"role": "user", "content": "What grows? 独木成林"}]
ASK = {"model": "tiny", "messages": MESSAGES, "max_tokens": 12, "temperature": 1, "seed": 7}
CONTINUE = {"model": "tiny", "prompt": "The banyan", "max_tokens": 12, "temperature": 1, "seed": 7}


def stored(store: SqlStore, response: httpx.Response) -> StoredExchange:
    return store.queries.show(response.headers["X-Request-Id"])


def events_of(response: httpx.Response) -> list[dict[str, Any]]:
    frames = response.text.removesuffix("\n\n").split("\n\n")
    assert frames[-1] == "data: [DONE]"
    return [json.loads(frame.removeprefix("data: ")) for frame in frames[:-1]]


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("path", "body"), [(CHAT, ASK), (COMPLETIONS, CONTINUE)])
def test_the_stored_text_is_the_answered_text(
    client: httpx.Client, store: SqlStore, path: str, body: dict[str, Any], stream: bool, n: int
) -> None:
    body = {**body, "stream": stream, "n": n}
    response = client.post(path, json=body)
    assert response.status_code == 200
    texts = [""] * n
    for part in events_of(response) if stream else [response.json()]:
        for choice in part["choices"]:
            piece = choice.get("delta") or choice.get("message") or choice
            texts[choice["index"]] += piece.get("content", piece.get("text")) or ""
    exchange = stored(store, response)
    assert exchange.state is RequestState.COMPLETED
    assert exchange.answer is not None
    assert [output.text for output in exchange.answer.outputs] == texts
    assert exchange.request.body == body
    assert (exchange.request.stream, exchange.request.num_choices, exchange.request.seed) == (stream, n, 7)
    assert exchange.answer.num_completion_tokens == sum(len(output.token_ids) for output in exchange.answer.outputs)
    assert len(set(texts)) == n, "every choice has a seed of its own"


def test_streamed_and_whole_answers_have_the_same_text_for_the_same_seed(client: httpx.Client) -> None:
    for seed in range(5):
        whole = client.post(CHAT, json={**ASK, "seed": seed}).json()["choices"][0]["message"]["content"]
        pieces = events_of(client.post(CHAT, json={**ASK, "seed": seed, "stream": True}))
        assert "".join(piece["choices"][0]["delta"].get("content", "") for piece in pieces) == whole


@pytest.mark.parametrize(
    ("task", "given"),
    [
        ("topic", "a tree"),
        ("words", "a tree"),
        ("tags", "an oak in Berlin"),
        ("mt", {"source": "hello", "source_language": "en", "target_language": "zh"}),
        ("sum", "a long text"),
        ("qa", {"question": "what?", "context": "the tree"}),
        ("chat", {"messages": MESSAGES}),
        ("lm", "The banyan"),
        ("draw", "a seven"),
    ],
)
def test_a_stored_task_holds_input_prediction_and_the_prompt_the_task_renders(
    client: httpx.Client, store: SqlStore, loaded: LoadedModel, task: str, given: Any
) -> None:
    response = client.post(f"/v1/tasks/{task}", json={"input": given, "max_tokens": 6, "seed": 3})
    assert response.status_code == 200, response.text
    exchange = stored(store, response)
    assert exchange.request.endpoint == f"/v1/tasks/{task}"
    assert (exchange.request.task, exchange.request.task_kind) == (task, loaded.tasks[task].kind)
    assert exchange.request.source == (given if isinstance(given, dict) else {"text": given})
    parse = loaded.tasks[task]
    example = parse.parse(given, with_answer=False) if isinstance(given, dict) else parse.example_from_text(given)
    prompt = loaded.prompt(task, example)
    ids = np.array(prompt.token_ids, dtype="<i4").tobytes()
    assert exchange.request.prompt_sha256 == sha256(ids).hexdigest()
    assert exchange.request.num_prompt_tokens == len(prompt.token_ids)
    (told,) = response.json()["predictions"]
    assert exchange.answer is not None
    (output,) = exchange.answer.outputs
    assert output.text == told["text"]
    picture = told.pop("image", None)
    assert {"index": 0, **(output.prediction or {})} == told
    assert [artifact.data for artifact in output.artifacts] == (
        [base64.b64decode(picture["b64_png"])] if picture else []
    )


def test_a_batch_is_answered_in_order_and_stored_as_one_request(client: httpx.Client, store: SqlStore) -> None:
    inputs = ["a tree", "a very tall tree", "树"]
    response = client.post("/v1/tasks/topic", json={"inputs": inputs})
    predictions = response.json()["predictions"]
    assert [prediction["index"] for prediction in predictions] == [0, 1, 2]
    for text, prediction in zip(inputs, predictions, strict=True):
        alone = client.post("/v1/tasks/topic", json={"input": text}).json()["predictions"][0]
        assert alone["text"] == prediction["text"]
    exchange = stored(store, response)
    assert exchange.answer is not None
    assert [output.text for output in exchange.answer.outputs] == [each["text"] for each in predictions]


@pytest.mark.parametrize(
    "name, asked",
    [
        ("topic", "a tree"),
        ("topic", {"text": "a tree"}),
        ("mt", "en>zh: a tree"),
        ("mt", '{"source": "a tree", "source_language": "en", "target_language": "zh"}'),
        ("mt", {"source": "a tree", "source_language": "en", "target_language": "zh"}),
        ("sum", "a tree"),
        ("qa", "which tree? ||| an oak"),
        ("qa", '{"question": "which tree?", "context": "an oak"}'),
        ("chat", "hello"),
        ("chat", '{"messages": [{"role": "user", "content": "hello"}]}'),
        ("lm", "a tree"),
        ("tags", "an oak"),
    ],
)
def test_what_was_asked_in_any_form_is_learned_from_as_that_question(
    client: httpx.Client, store: SqlStore, loaded: LoadedModel, name: str, asked: str | dict[str, str]
) -> None:
    body = {"input": asked} if name in ("topic", "qa", "tags") else {"input": asked, "max_tokens": 4}
    exchange = stored(store, client.post(f"/v1/tasks/{name}", json=body))
    task = loaded.tasks[name]
    [row] = [found.row for found in training_rows(exchange)]
    learned, question = task.parse(row, with_answer=False), task.read_question(asked).example
    assert name == "lm" or learned == question  # a text that was continued is learned whole
    task.parse(row)


def test_a_question_typed_as_json_is_parsed_once_in_a_request(
    client: httpx.Client, store: SqlStore, loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"question": "which tree?", "context": "an oak"}
    kind, parsed = type(loaded.tasks["qa"]), []
    parse = kind.parse

    def counted(self: Any, row: dict[str, Any], **options: Any) -> Any:
        parsed.append(row)
        return parse(self, row, **options)

    monkeypatch.setattr(kind, "parse", counted)
    exchange = stored(store, client.post("/v1/tasks/qa", json={"input": json.dumps(row)}))
    assert (parsed, exchange.request.source) == ([row], row)


def test_stored_pictures_are_the_pictures_that_were_sent(client: httpx.Client, store: SqlStore) -> None:
    response = client.post("/v1/images/generations", json={"prompt": "seven", "n": 2, "size": "16x16", "seed": 1})
    sent = [base64.b64decode(picture["b64_json"]) for picture in response.json()["data"]]
    assert all(png.startswith(b"\x89PNG") for png in sent)
    exchange = stored(store, response)
    assert exchange.answer is not None
    assert [artifact.data for output in exchange.answer.outputs for artifact in output.artifacts] == sent
    assert {artifact.width for output in exchange.answer.outputs for artifact in output.artifacts} == {16}


def test_the_answer_id_names_the_stored_row(client: httpx.Client) -> None:
    answer = client.post(CHAT, json=ASK).json()
    shown = client.get(f"/v1/outputs/{answer['id']}").json()
    assert shown["outputs"][0]["text"] == answer["choices"][0]["message"]["content"]
    assert shown["body"] == ASK
    assert shown["state"] == "completed"


def test_stored_answers_are_listed_searched_and_paged(client: httpx.Client) -> None:
    ids = [client.post("/v1/tasks/topic", json={"input": f"needle{n} tree"}).headers["X-Request-Id"] for n in range(3)]
    first = client.get("/v1/outputs", params={"limit": 2, "task": "topic"}).json()
    assert [row["id"] for row in first["data"]] == [ids[2], ids[1]]
    assert (first["has_more"], first["next_before"]) == (True, ids[1])
    second = client.get("/v1/outputs", params={"limit": 1, "before": ids[1]}).json()
    assert second["data"][0]["id"] == ids[0]
    found = client.get("/v1/outputs", params={"q": "NEEDLE1"}).json()
    assert [row["id"] for row in found["data"]] == [ids[1]]
    assert (found["has_more"], found["next_before"]) == (False, None)


def test_feedback_is_kept_with_the_answer(client: httpx.Client, store: SqlStore) -> None:
    answered = client.post("/v1/tasks/topic", json={"input": "a tree"}).json()
    judged = client.post("/v1/feedback", json={"id": answered["id"], "rating": -1, "correction": "tree"})
    assert judged.status_code == 200
    (kept,) = store.queries.show(answered["id"]).feedback
    assert (kept.rating, kept.correction) == (-1, "tree")
    assert client.get(f"/v1/outputs/{answered['id']}").json()["feedback"][0]["correction"] == "tree"


@pytest.mark.parametrize(
    "name, asked, wrong, right",
    [
        ("topic", "an oak", "bush", "tree"),
        ("words", "an oak", "bush", "tree"),
        ("tags", "an oak", "tree", '[{"start": 3, "end": 6, "label": "tree"}]'),
        ("tags", "an oak", '[{"start": 3, "end": 6, "label": "bush"}]', "[]"),
        ("qa", "which? ||| an oak", "a pine", "oak"),
    ],
)
def test_a_correction_that_no_task_could_learn_is_refused_at_once_and_not_repeated(
    client: httpx.Client, store: SqlStore, name: str, asked: str, wrong: str, right: str
) -> None:
    key = client.post(f"/v1/tasks/{name}", json={"input": asked}).json()["id"]
    refused = client.post("/v1/feedback", json={"id": key, "correction": wrong})
    assert refused.status_code == 400 and refused.json()["error"]["param"] == "correction"
    assert wrong not in refused.json()["error"]["message"]
    assert client.post("/v1/feedback", json={"id": key, "correction": right}).status_code == 200
    (kept,) = store.queries.show(key).feedback
    assert kept.correction == right


def test_an_empty_correction_says_that_a_question_has_no_answer_and_nothing_else(
    client: httpx.Client, store: SqlStore, loaded: LoadedModel
) -> None:
    asked = client.post("/v1/tasks/qa", json={"input": "which? ||| an oak"}).json()["id"]
    label = client.post("/v1/tasks/topic", json={"input": "an oak"}).json()["id"]
    for key, correction, status in ((asked, "", 200), (asked, " ", 400), (label, "", 400)):
        answer = client.post("/v1/feedback", json={"id": key, "correction": correction})
        assert answer.status_code == status
        assert status == 200 or answer.json()["error"]["code"] == "empty_input"
    [row] = [found.row for found in training_rows(store.queries.show(asked))]
    assert row == {"question": "which?", "context": "an oak", "answers": []}
    assert loaded.tasks["qa"].parse(row).answers == ()


def test_any_words_correct_a_text_and_any_answer_may_be_judged(client: httpx.Client) -> None:
    for path, body in ((CHAT, ASK), ("/v1/tasks/mt", {"input": "en>zh: a tree", "max_tokens": 4})):
        key = client.post(path, json=body).headers["X-Request-Id"]
        assert client.post("/v1/feedback", json={"id": key, "correction": "一棵树"}).status_code == 200


def test_of_a_batch_every_input_is_judged_by_its_index_and_learned_from(
    client: httpx.Client, store: SqlStore, loaded: LoadedModel
) -> None:
    inputs = ["en>zh: an oak", {"source": "a pine", "source_language": "zh", "target_language": "en"}, "zh>en: 树"]
    batch = client.post("/v1/tasks/mt", json={"inputs": inputs, "max_tokens": 4}).json()
    for given in ({"index": 1, "correction": "一棵松"}, {"index": 2, "rating": -1}):
        answer = client.post("/v1/feedback", json={"id": batch["id"], **given})
        assert answer.status_code == 200 and answer.json()["index"] == given["index"]
    exchange = store.queries.show(batch["id"])
    assert [given.choice_index for given in exchange.feedback] == [1, 2]
    shown = client.get(f"/v1/outputs/{batch['id']}").json()
    assert [given["index"] for given in shown["feedback"]] == [1, 2]
    first, second = training_rows(exchange)
    said = batch["predictions"][0]["text"]
    assert (first.choice_index, first.row) == (0, {"translation": {"en": "an oak", "zh": said}})
    assert (second.choice_index, second.row) == (1, {"translation": {"zh": "a pine", "en": "一棵松"}})
    loaded.tasks["mt"].parse(second.row)
    assert [found.choice_index for found in training_rows(exchange, only_judged=True)] == [1]


@pytest.mark.parametrize(
    ("path", "body", "num"),
    [
        ("/v1/tasks/topic", {"inputs": ["an oak", "a pine"]}, 2),
        (COMPLETIONS, {**CONTINUE, "prompt": ["an oak", "a pine"], "n": 2}, 4),
        (CHAT, {**ASK, "n": 3}, 3),
        ("/v1/images/generations", {"prompt": "seven", "n": 2}, 2),
    ],
    ids=["inputs", "prompts with several choices", "choices", "pictures"],
)
def test_where_there_are_several_answers_a_judgement_says_which(
    client: httpx.Client, store: SqlStore, path: str, body: dict[str, Any], num: int
) -> None:
    key = client.post(path, json=body).headers["X-Request-Id"]
    for given, code in (({}, "missing_field"), ({"index": num}, "out_of_range"), ({"index": -1}, "out_of_range")):
        refused = client.post("/v1/feedback", json={"id": key, "rating": 1, **given})
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, code)
        assert refused.json()["error"]["param"] == "index"
    assert client.post("/v1/feedback", json={"id": key, "rating": 1, "index": num - 1}).status_code == 200
    assert [found.choice_index for found in training_rows(store.queries.show(key), only_judged=True)] == [num - 1]


def test_where_there_is_one_answer_its_index_is_0_whether_it_is_said_or_not(
    client: httpx.Client, store: SqlStore
) -> None:
    key = client.post("/v1/tasks/topic", json={"inputs": ["an oak"]}).json()["id"]
    for given in ({}, {"index": 0}):
        assert client.post("/v1/feedback", json={"id": key, "rating": 1, **given}).json()["index"] == 0
    refused = client.post("/v1/feedback", json={"id": key, "rating": 1, "index": 1})
    assert refused.status_code == 400 and "0: the request has one answer, got 1" in refused.json()["error"]["message"]
    assert [given.choice_index for given in store.queries.show(key).feedback] == [0, 0]


def test_a_correction_that_no_task_could_learn_is_refused_for_each_of_a_batch(client: httpx.Client) -> None:
    key = client.post("/v1/tasks/qa", json={"inputs": ["which? ||| an oak", "which? ||| a pine"]}).json()["id"]
    for index, status in ((0, 400), (1, 200)):
        answer = client.post("/v1/feedback", json={"id": key, "index": index, "correction": "pine"})
        assert answer.status_code == status, answer.text


def test_nobody_sees_what_another_key_asked(server: RunningServer, client: httpx.Client) -> None:
    mine = client.post("/v1/tasks/topic", json={"input": "my secret tree"}).headers["X-Request-Id"]
    other = create_key(server.store.database, name="other")
    admin = create_key(server.store.database, name="admin", scopes=("admin",))
    with httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {other.secret}"}) as neighbour:
        assert neighbour.get("/v1/outputs").json()["data"] == []
        assert neighbour.get("/v1/outputs", params={"q": "secret"}).json()["data"] == []
        before = [neighbour.get("/v1/outputs", params={"before": key}) for key in (mine, "0" * 26)]
        assert [(each.status_code, each.text.replace(mine, "0" * 26)) for each in before] == [(400, before[1].text)] * 2
        missing = neighbour.get(f"/v1/outputs/{'0' * 26}")
        hidden = neighbour.get(f"/v1/outputs/{mine}")
        assert (hidden.status_code, hidden.json()) == (missing.status_code, missing.json())
        assert neighbour.post("/v1/feedback", json={"id": mine, "rating": 1}).status_code == 404
    with httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {admin.secret}"}) as everybody:
        assert everybody.get(f"/v1/outputs/{mine}").status_code == 200


def test_a_client_label_is_kept_only_if_it_is_harmless(client: httpx.Client, store: SqlStore) -> None:
    for label, kept in [("order-66", "order-66"), ("a b", None), ("x" * 129, None)]:
        response = client.post("/v1/tasks/topic", json={"input": "a"}, headers={"X-Client-Request-Id": label})
        assert stored(store, response).request.client_request_id == kept


class SlowStore:
    """A store whose commits happen when the test says so."""

    def __init__(self) -> None:
        self.begun: Future[str] = Future()
        self.finished: Future[None] = Future()
        self.answers: list[StoredAnswer] = []
        self.notes: list[str] = []

    def begin(self, request: StoredRequest) -> Future[str]:
        return self.begun

    def progress(self, request_id: str, partial_text: str) -> None:
        self.notes.append(partial_text)

    def finish(self, request_id: str, answer: StoredAnswer) -> Future[None]:
        self.answers.append(answer)
        return self.finished

    def close(self) -> None:
        raise NotImplementedError


def commit(future: Future[Any]) -> None:
    future.set_result(None)


def test_nothing_begins_or_ends_before_its_commit() -> None:
    async def run() -> None:
        store = SlowStore()
        beginning = asyncio.create_task(Recorder(store, progress_seconds=1).begin(tiny_request()))
        await asyncio.sleep(0.01)
        assert not beginning.done()
        commit(store.begun)
        record = await beginning
        ending = asyncio.create_task(record.complete((), num_completion_tokens=1))
        await asyncio.sleep(0.01)
        assert not ending.done()
        commit(store.finished)
        await ending

    asyncio.run(run())


def test_a_record_ends_once_and_the_first_ending_counts() -> None:
    async def run() -> list[StoredAnswer]:
        store = SlowStore()
        commit(store.begun)
        commit(store.finished)
        record = await Recorder(store, progress_seconds=1).begin(tiny_request())
        await record.fail(ApiError(504, "timeout", "x"), (), num_completion_tokens=0)
        await record.complete((), num_completion_tokens=1)
        await record.cancel((), num_completion_tokens=1)
        return store.answers

    (answer,) = asyncio.run(run())
    assert (answer.state, answer.error_code) == (RequestState.FAILED, "timeout")


@pytest.mark.parametrize(("how", "state"), [("settle", RequestState.COMPLETED), ("forsake", RequestState.CANCELLED)])
def test_an_answer_that_is_held_back_is_written_when_it_goes_out_or_never_will(how: str, state: RequestState) -> None:
    async def run() -> list[StoredAnswer]:
        store = SlowStore()
        commit(store.begun)
        commit(store.finished)
        record = await Recorder(store, progress_seconds=1).begin(tiny_request())
        record.hold_back()
        await record.complete((), num_completion_tokens=1)
        assert not store.answers
        await getattr(record, how)()
        await record.settle()
        await record.forsake()
        return store.answers

    assert [answer.state for answer in asyncio.run(run())] == [state]


def test_a_client_that_leaves_during_the_first_commit_is_recorded_as_gone() -> None:
    async def run() -> list[StoredAnswer]:
        store = SlowStore()
        commit(store.finished)
        beginning = asyncio.create_task(Recorder(store, progress_seconds=1).begin(tiny_request()))
        await asyncio.sleep(0.01)
        beginning.cancel()
        await asyncio.gather(beginning, return_exceptions=True)
        assert not store.begun.cancelled(), "the writer still holds this future"
        return store.answers

    (answer,) = asyncio.run(run())
    assert answer.state is RequestState.CANCELLED


@pytest.mark.parametrize(("seconds", "notes"), [(0.0, ["a", "ab"]), (60.0, [])])
def test_progress_is_noted_now_and_then(seconds: float, notes: list[str]) -> None:
    store = SlowStore()
    record = Record(store, "01", progress_seconds=seconds)
    record.note_progress("a")
    record.note_progress("ab")
    assert store.notes == notes


def test_no_key_and_no_text_reaches_the_log(
    server: RunningServer, client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    canary = "canary-4711"
    client.post(CHAT, json={**ASK, "messages": [{"role": "user", "content": canary}]})
    client.post(CHAT, json={**ASK, canary: 1})
    client.post("/v1/tasks/qa", json={"input": {"question": canary}})
    client.get(f"/v1/{canary}", headers={"X-Canary": canary})
    httpx.get(f"{server.url}/v1/models", headers={"Authorization": f"Bearer {canary}"})
    ours = [record.getMessage() for record in caplog.records if record.name.startswith(("banyan", "uvicorn"))]
    assert "key_refused" in " ".join(ours)
    assert not any(canary in line or server.key in line for line in ours)
