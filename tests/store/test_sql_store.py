from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path

import pytest

from banyan.core.errors import InputError, StoreError
from banyan.core.ids import new_ulid
from banyan.store.dataset_export import training_rows
from banyan.store.queries import RequestFilter
from banyan.store.sql_store import SqlStore, open_database, open_store
from banyan.store.types import (
    RequestState,
    StoredAnswer,
    StoredArtifact,
    StoredFeedback,
    StoredOutput,
)
from banyan.store.writer import WriterConfig
from banyan.testing.store import tiny_request

HARD_TEXTS = {
    "empty": "",
    "Chinese": "嗨，世界",
    "NUL": "a\0b",
    "lone surrogate": "\ud800 alone",
    "joined emoji": "👩‍👩‍👧",
    "long": "x" * 1_000_000,
    "line ends": "line\r\nline",
    "JSON": '{"a": "\\u0000"}',
}


def answer(*texts: str, state: RequestState = RequestState.COMPLETED) -> StoredAnswer:
    outputs = tuple(StoredOutput(choice_index=index, text=text) for index, text in enumerate(texts))
    return StoredAnswer(state=state, outputs=outputs, http_status=200)


@pytest.mark.parametrize("text", HARD_TEXTS.values(), ids=HARD_TEXTS)
def test_a_request_and_its_answer_come_back_to_the_last_character(store: SqlStore, text: str) -> None:
    request = tiny_request(
        body={"prompt": text, "n": 1}, source={"text": text}, params={"temperature": 0.5}, seed=2**63 - 1
    )
    picture = StoredArtifact(media_type="image/png", data=b"\x89PNG\0", width=8, height=8)
    output = StoredOutput(text=text, prediction={"label": text}, token_ids=(0, 5, 2**31 - 1), artifacts=(picture,))
    given = StoredAnswer(outputs=(output,), num_completion_tokens=3, first_token_at=5)
    store.begin(request).result(10)
    store.finish(request.request_id, given).result(10)
    found = store.queries.show(request.request_id)
    assert found.request == request
    assert found.answer == given


def test_every_field_of_a_request_is_kept(store: SqlStore) -> None:
    request = tiny_request(
        stream=True,
        num_choices=2,
        prompt_sha256="ab" * 32,
        num_prompt_tokens=7,
        model_sha256="cd" * 32,
        client_request_id="mine",
        session_id="s",
        received_at=123456789,
    )
    store.begin(request).result(10)
    assert store.queries.show(request.request_id).request == request


def test_a_request_is_open_until_its_answer_is_written(store: SqlStore) -> None:
    key = store.begin(tiny_request()).result(10)
    before = store.queries.show(key)
    assert (before.state, before.answer) == (RequestState.ACCEPTED, None)
    store.progress(key, "once upon")
    store.flush()
    growing = store.queries.show(key)
    assert (growing.state, growing.partial_text) == (RequestState.RUNNING, "once upon")
    store.finish(key, answer("once upon a time")).result(10)
    after = store.queries.show(key)
    assert (after.state, after.partial_text) == (RequestState.COMPLETED, "")
    assert after.answer is not None and [o.text for o in after.answer.outputs] == ["once upon a time"]


def test_beginning_twice_stores_one_request(store: SqlStore) -> None:
    request = tiny_request()
    assert store.begin(request).result(10) == store.begin(request).result(10)
    assert store.queries.counts().num_requests == 1


def test_the_first_end_of_a_request_is_the_one_that_counts(store: SqlStore) -> None:
    key = store.begin(tiny_request()).result(10)
    store.finish(key, answer("first")).result(10)
    store.finish(key, answer("second", state=RequestState.FAILED)).result(10)
    store.progress(key, "third")
    store.flush()
    found = store.queries.show(key).answer
    assert found is not None and found.state is RequestState.COMPLETED
    assert [output.text for output in found.outputs] == ["first"]


def test_a_failed_request_without_outputs_keeps_its_partial_text(store: SqlStore) -> None:
    key = store.begin(tiny_request()).result(10)
    store.progress(key, "half an ans")
    store.finish(key, StoredAnswer(state=RequestState.FAILED, http_status=500, error_code="internal")).result(10)
    found = store.queries.show(key).answer
    assert found is not None and (found.http_status, found.error_code) == (500, "internal")
    assert [output.text for output in found.outputs] == ["half an ans"]


def test_an_answer_to_a_request_that_never_began_is_refused_and_kept(store: SqlStore) -> None:
    with pytest.raises(InputError, match="no stored request"):
        store.finish(new_ulid(), answer("lost?")).result(10)
    assert store.queries.counts().num_dead_letters == 1


def test_batch_work_is_recorded_in_one_step(store: SqlStore) -> None:
    key = store.record(tiny_request(), answer("a", "b")).result(10)
    found = store.queries.show(key).answer
    assert found is not None and [output.text for output in found.outputs] == ["a", "b"]


def test_a_request_that_may_have_been_begun_is_ended_by_writing_both(store: SqlStore) -> None:
    requests = [tiny_request(), tiny_request()]
    store.begin(requests[0]).result(10)
    for request in requests:
        store.record(request, StoredAnswer(state=RequestState.FAILED, http_status=503)).result(10)
        assert store.queries.show(request.request_id).state is RequestState.FAILED
    assert store.queries.counts().num_requests == 2


def test_equal_pictures_are_kept_once(store: SqlStore) -> None:
    picture = StoredArtifact(media_type="image/png", data=b"same")
    for _ in range(3):
        output = StoredOutput(artifacts=(picture, picture))
        store.record(tiny_request(), StoredAnswer(outputs=(output,))).result(10)
    assert store.queries.artifact(picture.sha256) == picture
    assert store.queries.artifact("0" * 64) is None


def test_feedback_comes_back_with_its_request(store: SqlStore) -> None:
    key = store.record(tiny_request(), answer("Berlim")).result(10)
    feedback = StoredFeedback(request_id=key, rating=-1, comment="typo", correction="Berlin")
    store.add_feedback(feedback).result(10)
    assert store.queries.show(key).feedback == (feedback,)
    with pytest.raises(InputError):
        store.add_feedback(StoredFeedback(request_id=new_ulid(), rating=1)).result(10)


def test_feedback_names_one_of_several_answers_that_is_there(store: SqlStore) -> None:
    request = tiny_request(num_choices=2, sources=({"text": "a"}, {"text": "b\0"}))
    key = store.record(request, answer("A", "B")).result(10)
    second = StoredFeedback(request_id=key, choice_index=1, correction="C")
    store.add_feedback(second).result(10)
    for index in (2, -1):
        with pytest.raises(InputError, match=f"choice_index={index} is no answer of request .*, which has 2"):
            store.add_feedback(StoredFeedback(request_id=key, choice_index=index, rating=1)).result(10)
    found = store.queries.show(key)
    assert (found.request, found.feedback) == (request, (second,))
    assert [row.row for row in training_rows(replace(found, request=replace(request, task_kind="summarization")))] == [
        {"document": "a", "summary": "A"},
        {"document": "b\0", "summary": "C"},
    ]


def test_only_what_was_rated_or_corrected_counts_as_judged(store: SqlStore) -> None:
    keys = [store.record(tiny_request(), answer("x")).result(10) for _ in range(3)]
    said = [{"comment": "hm"}, {"rating": 1}, {"correction": "y"}]
    for key, words in zip(keys, said, strict=True):
        store.add_feedback(StoredFeedback(request_id=key, **words)).result(10)  # type: ignore[arg-type]
    found = store.queries.newest(RequestFilter(judged=True))
    assert {each.request.request_id for each in found} == set(keys[1:])


def test_many_threads_may_write_at_once(store: SqlStore) -> None:
    def exchange(number: int) -> str:
        key = store.begin(tiny_request(body={"prompt": str(number)})).result(30)
        store.finish(key, answer(str(number))).result(30)
        return key

    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(exchange, range(80)))
    for number, key in enumerate(keys):
        found = store.queries.show(key)
        assert found.request.body == {"prompt": str(number)}
        assert found.answer is not None and found.answer.outputs[0].text == str(number)


def test_closing_writes_what_waits_and_interrupts_what_is_open(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "a.db"))
    written = [store.begin(tiny_request()) for _ in range(100)]
    store.finish(written[0].result(10), answer("done"))
    store.close()
    store.close()
    wait(written)
    assert all(future.exception() is None for future in written)
    with open_store(str(tmp_path / "a.db")) as again:
        assert again.num_recovered == 0
        assert again.queries.counts().by_state == {"interrupted": 99, "completed": 1}


def test_a_closed_store_refuses_to_write() -> None:
    store = open_store("sqlite://")
    store.close()
    with pytest.raises(StoreError, match="is closed"):
        store.begin(tiny_request()).result(1)


def test_an_overloaded_store_refuses_requests_but_not_the_ends_of_those_it_took() -> None:
    limits = WriterConfig(max_queue_rows=2, max_batch_rows=1)
    with open_store("sqlite://", writer=limits) as store:
        with store.database.read():  # in memory, a reader holds the writer up
            begun = [store.begin(tiny_request()) for _ in range(10)]
            refused = [future for future in begun if future.done()]
            ending = store.finish(new_ulid(), answer("owed"))
        assert 7 <= len(refused) <= 8
        assert all("too many writes wait" in str(future.exception()) for future in refused)
        assert all(future.result(10) for future in begun if future not in refused)
        assert isinstance(ending.exception(10), InputError)  # it was tried: there is no such request


def test_a_model_is_known_with_its_facts(store: SqlStore) -> None:
    store.begin(tiny_request(model_sha256="ab")).result(10)
    bare = store.add_model("tiny", sha256="ab").result(10)
    assert store.add_model("tiny", sha256="ab", tasks=["writing"], num_parameters=9).result(10) == bare


def test_reading_needs_a_database_that_is_there(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no database at") as caught:
        open_database(str(tmp_path / "none.db"))
    assert caught.value.exit_code == 10 and caught.value.hint
    assert not (tmp_path / "none.db").exists()


def test_a_repr_shows_neither_texts_nor_passwords(store: SqlStore) -> None:
    request = tiny_request(body={"prompt": "geheim"}, source={"text": "geheim"})
    given = answer("geheim")
    feedback = StoredFeedback(request_id="x", comment="geheim", correction="geheim")
    shown = repr((store, store.database, request, given, feedback))
    assert "geheim" not in shown
