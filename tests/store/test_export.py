import json

from banyan.core.types import Entity, Image, Prediction
from banyan.store.export import exchange_to_json, prediction_to_json
from banyan.store.sql_store import SqlStore
from banyan.store.types import StoredAnswer, StoredArtifact, StoredFeedback, StoredOutput
from banyan.testing.store import tiny_request


def test_an_exported_request_holds_all_of_it_as_json(store: SqlStore) -> None:
    picture = StoredArtifact(media_type="image/png", data=b"png", width=8, height=8)
    output = StoredOutput(text="嗨", prediction={"label": "a"}, token_ids=(1, 2), artifacts=(picture,))
    key = store.record(tiny_request(received_at=1), StoredAnswer(outputs=(output,), finished_at=2)).result(10)
    store.add_feedback(StoredFeedback(request_id=key, rating=1, at=3)).result(10)
    row = json.loads(json.dumps(exchange_to_json(store.queries.show(key)), allow_nan=False))
    assert (row["id"], row["state"], row["body"]) == (key, "completed", {"prompt": "say"})
    assert row["received_at"] == "1970-01-01T00:00:00.000001Z"
    (found,) = row["outputs"]
    assert (found["text"], found["prediction"], found["token_ids"]) == ("嗨", {"label": "a"}, [1, 2])
    assert found["artifacts"][0]["sha256"] == picture.sha256
    assert row["feedback"][0]["rating"] == 1


def test_an_open_request_is_exported_without_outputs(store: SqlStore) -> None:
    key = store.begin(tiny_request()).result(10)
    row = exchange_to_json(store.queries.show(key))
    assert (row["state"], row["outputs"], row["partial_text"]) == ("accepted", [], "")


def test_a_prediction_becomes_json_with_only_what_it_says() -> None:
    entity = Entity(label="X", start=0, end=1, text="a", score=0.5)
    image = Image(width=1, height=1, channels=1, pixels=b"\0")
    full = Prediction(
        task="t", text="a", score=0.5, labels={"a": 1.0}, tags=("B-X",), entities=(entity,), span=(0, 1), image=image
    )
    assert json.loads(json.dumps(prediction_to_json(full))) == {
        "score": 0.5,
        "labels": {"a": 1.0},
        "tags": ["B-X"],
        "entities": [{"label": "X", "start": 0, "end": 1, "text": "a", "score": 0.5}],
        "span": [0, 1],
    }
    assert prediction_to_json(Prediction(task="t", text="a")) == {}
