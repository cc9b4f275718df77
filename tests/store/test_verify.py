import pytest
from sqlalchemy import text

from banyan.store.sql_store import SqlStore
from banyan.store.types import StoredAnswer, StoredArtifact, StoredFeedback, StoredOutput
from banyan.store.verify import verify_database
from banyan.testing.store import tiny_request


def fill(store: SqlStore) -> None:
    picture = StoredArtifact(media_type="image/png", data=b"png")
    for _ in range(3):
        output = StoredOutput(text="an answer", artifacts=(picture,))
        key = store.record(tiny_request(source={"text": "x"}), StoredAnswer(outputs=(output,))).result(10)
        store.add_feedback(StoredFeedback(request_id=key, rating=1, choice_index=0)).result(10)
    store.begin(tiny_request()).result(10)


def test_a_sound_store_has_no_problems(store: SqlStore) -> None:
    fill(store)
    report = verify_database(store.database)
    assert report.is_sound, report.problems
    assert (report.num_requests, report.num_outputs, report.num_artifacts, report.num_dead_letters) == (4, 3, 1, 0)


DAMAGE = {
    "UPDATE outputs SET text_sha256 = 'x'": "sha256 mismatch of the text",
    "UPDATE outputs SET content = text_sha256": "the text cannot be unpacked",
    "UPDATE artifacts SET size_bytes = 99": "not the ones it was named after",
    "DELETE FROM output_artifacts": "belongs to no output",
    "UPDATE requests SET finished_at = NULL": "its end time says otherwise",
    "UPDATE requests SET num_choices = 2": "completed with 1 outputs where 2 were asked for",
    "UPDATE feedback SET choice_index = 1": "judges answer 1 of a request with 1",
    "DELETE FROM request_contents": "has no content",
    "UPDATE request_contents SET body = request_id": "the content cannot be unpacked",
}


@pytest.mark.parametrize(("damage", "problem"), DAMAGE.items(), ids=DAMAGE)
def test_damage_is_found_and_named(file_store: SqlStore, damage: str, problem: str) -> None:
    fill(file_store)
    with file_store.database.write() as connection:
        connection.execute(text(damage.replace("= text_sha256", "= CAST(text_sha256 AS BLOB)")))
    report = verify_database(file_store.database)
    assert not report.is_sound
    assert all(problem in found for found in report.problems)


def test_a_reference_to_nothing_is_found(file_store: SqlStore) -> None:
    fill(file_store)
    with file_store.database.write() as connection:
        connection.execute(text("COMMIT"))
        connection.execute(text("PRAGMA foreign_keys=OFF"))
        connection.execute(text("BEGIN"))
        connection.execute(text("DELETE FROM models"))
    problems = verify_database(file_store.database).problems
    assert any("refers to a row of models that is not there" in problem for problem in problems)
