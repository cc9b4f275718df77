from typing import Any

from sqlalchemy import select

from banyan.core.errors import InputError
from banyan.store.dead_letters import Refused, report_refusal, write_dead_letter
from banyan.store.failures import RefusedRowError
from banyan.store.operations import AddModel
from banyan.store.schema import DeadLetterRow
from banyan.store.sql_store import SqlStore
from banyan.testing.store import tiny_request

WRITE = AddModel(name="tiny", sha256="ab", at=1)


def test_what_json_cannot_write_is_a_dead_letter_that_says_so(store: SqlStore) -> None:
    circle: dict[str, Any] = {}
    circle["again"] = circle
    writes = [store.begin(tiny_request(**changes)) for changes in ({"params": circle}, {}, {"params": {(1, 2): 3}}, {})]
    assert [type(write.exception(10)) for write in writes[::2]] == [RefusedRowError] * 2
    assert all(write.result(10) for write in writes[1::2])
    with store.database.read() as connection:
        payloads = list(connection.scalars(select(DeadLetterRow.payload).order_by(DeadLetterRow.at)))
    assert payloads == ['{"unwritable": "RecursionError"}', '{"unwritable": "TypeError"}']


def test_a_reason_that_no_database_could_hold_is_kept_in_ascii(store: SqlStore) -> None:
    with store.database.write() as connection:
        write_dead_letter(connection, WRITE, RuntimeError("a\0b\ud800嗨\nand more"))
    with store.database.read() as connection:
        assert list(connection.scalars(select(DeadLetterRow.error))) == ["RuntimeError: a\\x00b\\ud800\\u55e8"]


def test_who_waits_for_a_refused_write_hears_whether_it_is_kept() -> None:
    ours = InputError("there is no such request.")
    assert report_refusal(WRITE, Refused(ours)) is ours
    assert "KeyError: 'x'; it is kept in dead_letters." in str(report_refusal(WRITE, Refused(KeyError("x"))))
    lost = Refused(KeyError("x"), OverflowError("y"))
    assert "and dead_letters could not take it either (OverflowError)." in str(report_refusal(WRITE, lost))
