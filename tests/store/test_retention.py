"""What has been kept long enough goes, content first; what is young or still running stays."""

import pytest
from sqlalchemy import func, select

from banyan.core.errors import ConfigError
from banyan.store.audit import list_audit
from banyan.store.erasure import BATCH_ROWS
from banyan.store.retention import RetentionPolicy, purge
from banyan.store.schema import RequestRow
from banyan.store.sql_store import SqlStore
from banyan.store.times import MICROSECONDS
from banyan.store.types import StoredAnswer, StoredOutput
from banyan.store.verify import verify_database
from banyan.testing.store import tiny_request

DAY = 86_400
NOW = 1000 * DAY * MICROSECONDS


def record(store: SqlStore, *, days_ago: int) -> str:
    asked = tiny_request(received_at=NOW - days_ago * DAY * MICROSECONDS)
    return store.record(asked, StoredAnswer(outputs=(StoredOutput(text="kept"),))).result(10)


def num_requests(store: SqlStore) -> int:
    with store.database.read() as connection:
        return connection.scalar(select(func.count()).select_from(RequestRow)) or 0


def test_contents_go_before_facts_and_young_ones_stay(store: SqlStore) -> None:
    young = [record(store, days_ago=days) for days in (1, 29)]
    for days in (31, 99, 101, 500):
        record(store, days_ago=days)
    running = store.begin(tiny_request(received_at=1)).result(10)
    purged = purge(store.database, RetentionPolicy(content_seconds=30 * DAY, facts_seconds=100 * DAY), now=NOW)
    assert (purged.num_contents, purged.num_requests) == (4, 2)
    assert {each.request.request_id for each in store.queries.newest()} == {running, *young}
    assert num_requests(store) == 5
    assert {entry.action for _, entry in list_audit(store.database)} == {"output.erase", "request.delete"}
    assert verify_database(store.database).is_sound
    again = purge(store.database, RetentionPolicy(content_seconds=30 * DAY, facts_seconds=100 * DAY), now=NOW)
    assert not again


def test_without_a_policy_nothing_is_deleted(file_store: SqlStore) -> None:
    key = record(file_store, days_ago=999)
    assert not purge(file_store.database, RetentionPolicy(), now=NOW)
    assert file_store.queries.show(key).answer is not None


def test_more_than_one_batch_is_deleted(file_store: SqlStore) -> None:
    done = [
        file_store.record(tiny_request(received_at=at + 1), StoredAnswer(outputs=(StoredOutput(text="x"),)))
        for at in range(BATCH_ROWS + 1)
    ]
    for future in done:
        future.result(30)
    assert purge(file_store.database, RetentionPolicy(facts_seconds=DAY), now=NOW).num_requests == BATCH_ROWS + 1
    assert num_requests(file_store) == 0


@pytest.mark.parametrize(
    "policy", [{"content_seconds": 0}, {"facts_seconds": -1}, {"content_seconds": 2, "facts_seconds": 1}]
)
def test_a_policy_that_cannot_be_kept_is_refused(policy: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        RetentionPolicy(**policy)
