import pytest

from banyan.core.errors import ConfigError, InputError
from banyan.store.keys import create_key
from banyan.store.queries import RequestFilter
from banyan.store.sql_store import SqlStore
from banyan.store.types import RequestState, StoredAnswer, StoredExchange, StoredOutput
from banyan.testing.store import tiny_request


def record(store: SqlStore, text: str, answer: str = "", **changes: object) -> str:
    given = {"body": {"prompt": text, "model": "settings-are-not-said"}, **changes}
    state = given.pop("state", RequestState.COMPLETED)
    outputs = (StoredOutput(text=answer),)
    return store.record(tiny_request(**given), StoredAnswer(state=state, outputs=outputs)).result(10)  # type: ignore[arg-type]


def ids(exchanges: list[StoredExchange]) -> list[str]:
    return [exchange.request.request_id for exchange in exchanges]


def test_the_newest_requests_come_first(store: SqlStore) -> None:
    keys = [record(store, str(at), received_at=at) for at in (30, 10, 20)]
    assert ids(store.queries.newest()) == [keys[0], keys[2], keys[1]]


def test_a_filter_takes_what_fits_all_of_it(store: SqlStore) -> None:
    wanted = record(store, "a", task="t", model_name="m", endpoint="/e", session_id="s", received_at=5)
    fields: dict[str, object] = {"task": "x", "model_name": "x", "endpoint": "x", "session_id": "x", "received_at": 4}
    fitting = {"task": "t", "model_name": "m", "endpoint": "/e", "session_id": "s", "received_at": 5}
    for name, value in fields.items():
        record(store, "b", **(fitting | {name: value}))
    record(store, "c", state=RequestState.FAILED, **fitting)
    all_of_it = RequestFilter(
        task="t", model="m", endpoint="/e", session="s", since=5, state=RequestState.COMPLETED, limit=10
    )
    assert ids(store.queries.newest(all_of_it)) == [wanted]


def test_a_limit_holds_across_pages(file_store: SqlStore) -> None:
    same_time = [file_store.begin(tiny_request(received_at=number // 7)) for number in range(420)]
    keys = [future.result(10) for future in same_time]
    for limit in (1, 199, 200, 201, 450, None):
        found = ids(list(file_store.queries.iterate(RequestFilter(limit=limit))))
        assert len(found) == min(limit or 420, 420) == len(set(found))
        assert set(found) <= set(keys)


def test_pages_follow_each_other_without_gap_or_overlap(store: SqlStore) -> None:
    keys = [record(store, str(number), received_at=number // 3) for number in range(10)]
    first = ids(store.queries.newest(RequestFilter(limit=4)))
    second = ids(store.queries.newest(RequestFilter(limit=6, before_id=first[-1])))
    assert first + second == ids(store.queries.newest())
    assert sorted(first + second) == sorted(keys)
    with pytest.raises(InputError):
        store.queries.newest(RequestFilter(before_id="nobody"))


def test_one_request_is_found_by_the_beginning_of_its_id_or_as_the_last(store: SqlStore) -> None:
    key = record(store, "old", received_at=1)
    newest = record(store, "new", received_at=2)
    assert ids([store.queries.show(key), store.queries.show(key.lower())]) == [key, key]
    assert ids([store.queries.show(newest[:24]), store.queries.show("last")]) == [newest, newest]


def test_an_id_that_fits_nothing_or_too_much_is_refused(store: SqlStore) -> None:
    with pytest.raises(InputError, match="no stored request"):
        store.queries.show("last")
    for key in ("AAAAAAAA" + "0" * 18, "AAAAAAAA" + "1" * 18):
        record(store, "x", request_id=key)
    for text in ("", "AAAA", "%", "________", "nobody12"):
        with pytest.raises(InputError, match="no stored request"):
            store.queries.show(text)
    with pytest.raises(InputError, match="several stored requests begin with 'AAAAAAAA'"):
        store.queries.show("AAAAAAAA")


@pytest.mark.parametrize("text", ["独木", "木成林", "BANYAN", "ßtraß", "%", "_", "'", "\\"])
def test_a_text_is_found_in_prompt_and_answer_in_any_script(store: SqlStore, text: str) -> None:
    asked = record(store, "独木成林: Banyan, STRASSTRASSE 100% a_b it's C:\\")
    answered = record(store, "other", "独木成林: Banyan, STRASSTRASSE 100% a_b it's C:\\")
    record(store, "neither", "nor")
    assert {*ids(list(store.queries.search(text)))} == {asked, answered}


def test_a_search_looks_at_what_was_said_only(store: SqlStore) -> None:
    sourced = record(store, "x", source={"text": "needle", "label": None})
    assert ids(list(store.queries.search("needle"))) == [sourced]
    assert list(store.queries.search("settings-are-not-said")) == []
    with pytest.raises(ConfigError):
        next(store.queries.search(""))


def test_a_search_that_is_stopped_says_where_to_go_on(store: SqlStore) -> None:
    keys = [record(store, "needle" if number % 2 else "hay", received_at=number) for number in range(6)]
    found, before, looks = [], None, 0
    while True:
        page = store.queries.search_page("needle", RequestFilter(before_id=before, limit=2), is_over=lambda: True)
        found, before, looks = found + ids(list(page.hits)), page.read_until, looks + 1
        if before is None:
            break
    assert found == [keys[5], keys[3], keys[1]]
    assert looks == len(keys)  # one request is looked at, however short the time


def test_a_page_of_a_search_ends_at_its_limit_or_where_nothing_is_left(store: SqlStore) -> None:
    keys = [record(store, "needle", received_at=number) for number in range(3)]
    first = store.queries.search_page("needle", RequestFilter(limit=2))
    assert (ids(list(first.hits)), first.read_until) == ([keys[2], keys[1]], keys[1])
    rest = store.queries.search_page("needle", RequestFilter(limit=2, before_id=first.read_until))
    assert (ids(list(rest.hits)), rest.read_until) == ([keys[0]], None)
    assert store.queries.search_page("needle", RequestFilter(limit=3)).read_until is None
    assert store.queries.search_page("straw", RequestFilter(limit=3)).hits == ()


def test_a_search_finds_partial_answers_and_stops_at_its_limit(store: SqlStore) -> None:
    key = store.begin(tiny_request(received_at=9)).result(10)
    store.progress(key, "half a needle")
    store.flush()
    for number in range(3):
        record(store, "needle", received_at=number)
    assert len(list(store.queries.search("needle", RequestFilter(limit=2)))) == 2
    assert ids(list(store.queries.search("half"))) == [key]


def test_counts_tell_how_much_is_stored(store: SqlStore) -> None:
    record(store, "a", task="x")
    record(store, "b", task="x")
    record(store, "c", task="y", state=RequestState.FAILED)
    counts = store.queries.counts()
    assert (counts.num_requests, counts.num_outputs, counts.num_dead_letters) == (3, 3, 0)
    assert counts.by_state == {"completed": 2, "failed": 1}
    assert counts.by_task == {"x": 2, "y": 1}


def test_a_limit_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="limit=0"):
        RequestFilter(limit=0)


def test_what_came_with_another_key_is_as_missing_as_what_never_came(store: SqlStore) -> None:
    mine, other = (create_key(store.database, name=name).key.key_id for name in ("mine", "other"))
    key = record(store, "a", api_key_id=mine)
    assert store.queries.show(key, api_key_id=mine).request.request_id == key
    for whose in (key, "0" * 26, "last"):
        with pytest.raises(InputError, match="there is no stored request"):
            store.queries.show(whose, api_key_id=other)
    with pytest.raises(InputError, match="there is no stored request"):
        store.queries.newest(RequestFilter(before_id=key, api_key_id=other))
