"""A store mode says how much of a request and its answer is written; counts and states always are."""

import pytest
from sqlalchemy import select

from banyan.store.codec import hash_text
from banyan.store.key_types import StoreMode
from banyan.store.privacy import kept_answer, kept_feedback, kept_request
from banyan.store.redaction import BLOT
from banyan.store.schema import Base, OutputRow
from banyan.store.sql_store import SqlStore
from banyan.store.types import VECTOR_MEDIA_TYPE, StoredAnswer, StoredArtifact, StoredFeedback, StoredOutput
from banyan.store.verify import verify_database
from banyan.testing.store import tiny_request

SECRET = "ann@mail.example"
TEXT = f"write to {SECRET}"
VECTOR = StoredArtifact(media_type=VECTOR_MEDIA_TYPE, data=b"1234")
SAID = {"text": TEXT, "log_probs": [-0.5], "alternatives": [[[1, -0.5]]]}
ANSWER = StoredAnswer(
    outputs=(StoredOutput(text=TEXT, prediction=SAID, token_ids=(1,), artifacts=(VECTOR,)),),
    num_completion_tokens=1,
)


def record(store: SqlStore, mode: StoreMode) -> str:
    given = tiny_request(body={"prompt": TEXT}, source={"text": TEXT}, params={"stop": [SECRET]}, prompt_sha256="ab")
    request = kept_request(
        tiny_request(**{name: getattr(given, name) for name in ("body", "source", "params")}, store_mode=mode)
    )
    key = store.begin(request).result(10)
    store.finish(key, kept_answer(ANSWER, mode)).result(10)
    feedback = kept_feedback(StoredFeedback(request_id=key, rating=1, comment=TEXT, correction=TEXT), mode)
    store.add_feedback(feedback).result(10)
    return key


@pytest.mark.parametrize("mode", StoreMode)
def test_every_mode_leaves_a_sound_store_with_the_counts(file_store: SqlStore, mode: StoreMode) -> None:
    key = record(file_store, mode)
    exchange = file_store.queries.show(key)
    assert verify_database(file_store.database).is_sound
    assert exchange.request.store_mode == mode
    assert exchange.answer is not None and exchange.answer.num_completion_tokens == 1
    assert exchange.feedback[0].rating == 1


def test_redaction_keeps_all_but_what_points_to_somebody(file_store: SqlStore) -> None:
    exchange = file_store.queries.show(record(file_store, StoreMode.REDACTED))
    blotted = f"write to {BLOT * len(SECRET)}"
    assert (exchange.request.body, exchange.request.source) == ({"prompt": blotted}, {"text": blotted})
    assert exchange.answer is not None
    (output,) = exchange.answer.outputs
    assert (output.text, output.prediction, output.token_ids, output.artifacts) == (blotted, {"text": blotted}, (), ())
    assert SECRET not in repr(exchange.feedback[0].correction) + repr(exchange.request.params)


def test_several_inputs_are_kept_as_one_is() -> None:
    asked = tiny_request(sources=({"text": TEXT}, {"text": "hi"}), store_mode=StoreMode.REDACTED)
    assert kept_request(asked).sources == ({"text": f"write to {BLOT * len(SECRET)}"}, {"text": "hi"})
    for mode in (StoreMode.HASH, StoreMode.NONE):
        assert kept_request(tiny_request(sources=asked.sources, store_mode=mode)).sources == ()


def test_hashes_tell_whether_an_answer_was_this_one(file_store: SqlStore) -> None:
    key = record(file_store, StoreMode.HASH)
    with file_store.database.read() as connection:
        assert connection.scalars(select(OutputRow.text_sha256)).all() == [hash_text(TEXT)]
    assert file_store.queries.show(key).request.body == {}


@pytest.mark.parametrize("mode", [StoreMode.HASH, StoreMode.NONE])
def test_without_content_no_table_holds_a_word(file_store: SqlStore, mode: StoreMode) -> None:
    key = record(file_store, mode)
    exchange = file_store.queries.show(key)
    with file_store.database.read() as connection:
        rows = "".join(
            repr(tuple(row)) for table in Base.metadata.sorted_tables for row in connection.execute(select(table))
        )
    assert SECRET not in rows + repr(exchange.answer) + repr(exchange.feedback[0].comment)
    assert exchange.feedback[0].correction is None
