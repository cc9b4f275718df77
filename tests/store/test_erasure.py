"""What is erased is in no table and no file any more; what belongs to others stays."""

from pathlib import Path

import pytest
from sqlalchemy import select, text

from banyan.core.errors import InputError
from banyan.store.audit import list_audit
from banyan.store.erasure import erase, forget
from banyan.store.schema import Base, RequestRow
from banyan.store.sql_store import SqlStore
from banyan.store.types import StoredAnswer, StoredArtifact, StoredFeedback, StoredOutput
from banyan.store.verify import verify_database
from banyan.testing.store import tiny_request

CANARY = "CANARY-7f3a"
SHARED = StoredArtifact(media_type="image/png", data=b"a picture that both were given")


def record(store: SqlStore, word: str) -> str:
    own = StoredArtifact(media_type="image/png", data=f"picture of {word}".encode())
    output = StoredOutput(text=word, prediction={"text": word}, token_ids=(1, 2), artifacts=(own, SHARED))
    asked = tiny_request(body={"prompt": word}, source={"text": word}, params={"stop": [word]}, client_request_id=word)
    key = store.record(asked, StoredAnswer(outputs=(output,), num_completion_tokens=2)).result(10)
    store.add_feedback(StoredFeedback(request_id=key, comment=word, correction=word)).result(10)
    return key


def all_rows(store: SqlStore) -> str:
    with store.database.read() as connection:
        return "".join(
            repr(tuple(row)) for table in Base.metadata.sorted_tables for row in connection.execute(select(table))
        )


def test_an_erased_request_is_gone_and_its_neighbour_is_whole(store: SqlStore) -> None:
    gone, stays = record(store, CANARY), record(store, "other")
    neighbour = store.queries.show(stays)
    assert erase(store.database, RequestRow.id == gone, actor="cli", reason="asked") == 1
    with pytest.raises(InputError):
        store.queries.show(gone)
    assert [each.request.request_id for each in store.queries.newest()] == [stays]
    assert store.queries.show(stays) == neighbour
    assert CANARY not in all_rows(store) and "picture of other" in all_rows(store)
    assert verify_database(store.database).is_sound
    assert [(entry.action, entry.object_id) for _, entry in list_audit(store.database)] == [("output.erase", gone)]


def test_counts_outlive_the_content(store: SqlStore) -> None:
    key = record(store, CANARY)
    erase(store.database, RequestRow.id == key, actor="cli", reason="asked")
    with store.database.read() as connection:
        row = connection.execute(select(RequestRow.num_completion_tokens, RequestRow.params)).one()
    assert tuple(row) == (2, {})


def test_an_open_request_cannot_be_erased(store: SqlStore) -> None:
    key = store.begin(tiny_request()).result(10)
    assert erase(store.database, RequestRow.id == key, actor="cli", reason="asked") == 0
    assert store.queries.show(key).state == "accepted"


def test_no_byte_of_it_is_left_in_the_files(file_store: SqlStore) -> None:
    key = record(file_store, CANARY)
    with file_store.database.write() as connection:  # a plain one, where compression hides nothing
        connection.execute(text("UPDATE requests SET endpoint = :canary"), {"canary": CANARY})
        connection.execute(text("UPDATE requests SET endpoint = 'x'"))
    erase(file_store.database, RequestRow.id == key, actor="cli", reason="asked")
    forget(file_store.database)
    assert file_store.database.path is not None
    files = [path for path in file_store.database.path.parent.iterdir() if path.is_file()]
    assert len(files) >= 2
    assert not [path for path in files if holds(path, CANARY)]


def holds(path: Path, word: str) -> bool:
    content = path.read_bytes()
    return word.encode() in content or f"picture of {word}".encode() in content
