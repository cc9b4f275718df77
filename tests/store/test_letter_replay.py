"""What the database refused is stored once it can be, exactly once, and undoes nothing that was stored since."""

import sqlite3
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, text

from banyan.core.errors import InputError, StoreError
from banyan.core.ids import new_ulid
from banyan.store import letter_replay
from banyan.store.audit import list_audit
from banyan.store.dead_letters import write_dead_letter
from banyan.store.erasure import erase, erase_letters
from banyan.store.letter_replay import KNOWN, STORED, list_dead_letters, replay_dead_letters
from banyan.store.operations import AddFeedback, BeginRequest, FinishRequest, NoteProgress, RecordExchange
from banyan.store.rows import PutRow, Together, WriteOperation
from banyan.store.run_schema import RunMetricRow
from banyan.store.schema import ApiKeyRow, IdempotentAnswerRow, RequestRow
from banyan.store.sql_store import SqlStore, open_store
from banyan.store.types import RequestState, StoredAnswer, StoredArtifact, StoredFeedback, StoredOutput
from banyan.store.verify import verify_database
from banyan.testing.store import tiny_request

PICTURE = StoredArtifact(media_type="image/png", data=b"png")
WHOLE = StoredAnswer(outputs=(StoredOutput(text="an answer", artifacts=(PICTURE,)),), num_completion_tokens=2)
FAILED = StoredAnswer(state=RequestState.FAILED, http_status=503, error_code="storage_unavailable")


def bury(store: SqlStore, *writes: WriteOperation) -> None:
    with store.database.write() as connection:
        for write in writes:
            write_dead_letter(connection, write, RuntimeError("refused"))


def replay(store: SqlStore, ids: Sequence[str] = ()) -> list[tuple[bool, str]]:
    return [(each.is_gone, each.said) for each in replay_dead_letters(store, ids)]


def num_letters(store: SqlStore) -> int:
    return store.queries.counts().num_dead_letters


def let_in(store: SqlStore, key: str) -> None:
    row = {"id": key, "name": "late", "prefix": "x", "key_sha256": key, "scopes": [], "created_at": 1}
    with store.database.write() as connection:
        connection.execute(insert(ApiKeyRow).values(row))


def test_what_was_refused_is_stored_when_its_obstacle_is_gone_and_a_second_time_does_nothing(store: SqlStore) -> None:
    key = new_ulid()
    asked = [tiny_request(api_key_id=key), tiny_request()]
    for request in asked:
        refused = store.record(request, WHOLE)
        assert isinstance(refused.exception(10), StoreError) == (request.api_key_id is not None)
    assert [gone for gone, _ in replay(store)] == [False]
    let_in(store, key)
    assert replay(store) == [(True, STORED)]
    assert replay(store) == [] and num_letters(store) == 0
    found = store.queries.show(asked[0].request_id)
    assert (found.request, found.state, found.answer) == (asked[0], RequestState.COMPLETED, WHOLE)
    assert verify_database(store.database).is_sound
    assert [entry.action for _, entry in list_audit(store.database)] == ["dead_letter.replay"]


def test_a_letter_that_is_refused_still_stays_and_holds_up_no_other(store: SqlStore) -> None:
    key = store.record(tiny_request(), WHOLE).result(10)
    missing, given = (
        AddFeedback(feedback=StoredFeedback(request_id=each, rating=1, choice_index=0)) for each in (new_ulid(), key)
    )
    bury(store, missing, given)
    (stays, why), (goes, said) = replay(store)
    assert not stays and "there is no stored request" in why
    assert goes and said == STORED
    assert store.queries.show(key).feedback == (given.feedback,)
    (left,) = list_dead_letters(store.database)
    assert (left.source, left.request_id) == ("AddFeedback", missing.feedback.request_id)


def test_a_request_that_was_refused_at_its_beginning_is_stored_as_its_client_saw_it(store: SqlStore) -> None:
    request = tiny_request()
    bury(store, BeginRequest(request=request, instance_id="gone"))
    assert replay(store) == [(True, STORED)]
    found = store.queries.show(request.request_id)
    assert found.request == request and found.state is RequestState.FAILED and found.answer is not None
    assert (found.answer.http_status, found.answer.error_code) == (503, "storage_unavailable")
    bury(store, BeginRequest(request=request, instance_id="gone"))
    assert replay(store) == [(True, KNOWN)]
    assert verify_database(store.database).is_sound


@pytest.mark.parametrize("left", [(), (StoredOutput(text="an ans", finish_reason=None),)], ids=["nothing", "a part"])
def test_an_answer_whose_client_heard_of_a_failure_is_added_and_the_failure_stays(
    store: SqlStore, left: tuple[StoredOutput, ...]
) -> None:
    key = store.begin(tiny_request()).result(10)
    told = StoredAnswer(state=FAILED.state, http_status=503, error_code=FAILED.error_code, outputs=left)
    store.finish(key, told).result(10)
    kept = {"api_key_id": "", "idempotency_key": "once", "request_id": key, "body_sha256": "ab", "media_type": "x"}
    again = PutRow(table=IdempotentAnswerRow, values={**kept, "content": b"x", "created_at": 1})
    bury(store, Together(operations=(FinishRequest(request_id=key, answer=WHOLE), again)))
    assert replay(store) == [(True, STORED)]
    found = store.queries.show(key)
    assert found.state is RequestState.FAILED and found.answer is not None
    assert found.answer.outputs == WHOLE.outputs and found.answer.num_completion_tokens == 2
    with store.database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM idempotent_answers")).scalar() == 0
    assert verify_database(store.database).is_sound


def test_a_part_of_an_answer_is_added_only_where_there_is_nothing(store: SqlStore) -> None:
    empty, whole = store.begin(tiny_request()).result(10), store.record(tiny_request(), WHOLE).result(10)
    store.finish(empty, FAILED).result(10)
    bury(store, *(NoteProgress(request_id=key, text="an a", at=1) for key in (empty, whole)))
    assert replay(store) == [(True, STORED), (True, KNOWN)]
    answers = [store.queries.show(key).answer for key in (empty, whole)]
    assert [each.outputs[0].text for each in answers if each is not None] == ["an a", "an answer"]


def test_an_answer_of_a_request_that_is_open_waits_and_one_that_was_stored_is_known(store: SqlStore) -> None:
    running, done = store.begin(tiny_request()).result(10), tiny_request()
    store.record(done, WHOLE).result(10)
    other = StoredAnswer(outputs=(StoredOutput(text="another"),))
    bury(
        store, FinishRequest(request_id=running, answer=WHOLE), FinishRequest(request_id=done.request_id, answer=other)
    )
    (waits, why), known = replay(store)
    assert not waits and "is still being answered" in why
    assert known == (True, KNOWN)
    assert store.queries.show(done.request_id).answer == WHOLE


def test_what_was_erased_since_does_not_come_back(store: SqlStore) -> None:
    key, owner = store.record(tiny_request(), WHOLE).result(10), new_ulid()
    erase(store.database, RequestRow.id == key, actor="cli", reason="asked")
    bury(store, FinishRequest(request_id=key, answer=WHOLE))
    assert replay(store) == [(True, KNOWN)]
    for each in (owner, new_ulid()):
        bury(store, BeginRequest(request=tiny_request(api_key_id=each), instance_id="gone"))
    assert erase_letters(store.database, api_key_id=owner) == 1
    assert num_letters(store) == 1


def test_a_row_that_is_there_is_not_replaced(store: SqlStore) -> None:
    run = PutRow(table=RunMetricRow, values={"run_id": "r", "name": "loss", "step": 1, "value": 2.0, "at": 1})
    bury(store, run)
    ((is_gone, _),) = replay(store)
    assert not is_gone, "there is no such run"
    request, kept = tiny_request(), new_ulid()
    let_in(store, kept)
    row = {"id": kept, "name": "early", "prefix": "y", "key_sha256": "y", "scopes": [], "created_at": 1}
    with store.database.write() as connection:
        connection.execute(text("DELETE FROM dead_letters"))
    bury(store, PutRow(table=ApiKeyRow, values=row), BeginRequest(request=request, instance_id="gone"))
    (is_gone, why), stored = replay(store)
    assert not is_gone and "api_keys has a row in its place" in why
    assert stored == (True, STORED)


def test_a_letter_and_its_write_go_together_or_not_at_all(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    request = tiny_request()
    bury(store, BeginRequest(request=request, instance_id="gone"))

    def power_cut(*_: Any) -> None:
        raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(letter_replay, "append_audit", power_cut)
        assert replay(store) == [(False, "RuntimeError: power cut")]
    assert (store.queries.counts().num_requests, num_letters(store)) == (0, 1)
    assert replay(store) == [(True, STORED)]


def test_an_outage_ends_the_work_and_leaves_the_letters(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    bury(store, *(BeginRequest(request=tiny_request(), instance_id="gone") for _ in range(2)))

    def full(*_: Any) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(letter_replay, "append_audit", full)
        with pytest.raises(StoreError, match="the disk is full"):
            replay(store)
    assert num_letters(store) == 2


def test_two_who_replay_at_once_store_every_letter_once(file_store: SqlStore, tmp_path: Path) -> None:
    asked = [tiny_request() for _ in range(20)]
    bury(file_store, *(BeginRequest(request=request, instance_id="gone") for request in asked))
    with open_store(str(tmp_path / "banyan.db")) as other, ThreadPoolExecutor(2) as pool:
        found = [each for done in pool.map(replay, (file_store, other)) for each in done]
    assert sorted(said for _, said in found if said == STORED) == [STORED] * 20
    assert all(is_gone for is_gone, _ in found)
    assert (file_store.queries.counts().num_requests, num_letters(file_store)) == (20, 0)


def test_letters_are_chosen_by_the_beginning_of_their_ids(store: SqlStore) -> None:
    writes = [BeginRequest(request=tiny_request(), instance_id="gone") for _ in range(3)]
    bury(store, *writes)
    newest = list_dead_letters(store.database, limit=1)[0].letter_id
    assert replay(store, [newest.lower()]) == [(True, STORED)]
    assert newest not in [letter.letter_id for letter in list_dead_letters(store.database)]
    for given, problem in (("nothing", "there is no dead letter"), ("01", "there is no dead letter")):
        with pytest.raises(InputError, match=problem):
            replay(store, [given])
    assert num_letters(store) == 2


def test_batch_work_that_was_refused_is_stored_as_it_was(store: SqlStore) -> None:
    request = tiny_request(endpoint="predict")
    begin = BeginRequest(request=request, instance_id="gone")
    exchange = RecordExchange(begin=begin, finish=FinishRequest(request_id=request.request_id, answer=WHOLE))
    bury(store, exchange, exchange)
    assert replay(store) == [(True, STORED), (True, KNOWN)]
    assert store.queries.show(request.request_id).answer == WHOLE
