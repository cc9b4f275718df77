import pytest

from banyan.core.errors import InputError
from banyan.store.run_queries import (
    checkpoints_that_answered,
    find_run,
    metric_course,
    metric_courses,
    newest_events,
    show_run,
)
from banyan.store.sql_store import SqlStore
from banyan.store.types import StoredAnswer, StoredCheckpoint, StoredRun
from banyan.testing.store import tiny_request


def show(store: SqlStore, wanted: str) -> dict[str, object]:
    with store.database.read() as connection:
        return show_run(connection, wanted)


def add(store: SqlStore, name: str, at: int) -> str:
    return store.runs.record_run(StoredRun(name=name, kind="train", config={"at": at}, started_at=at)).result(10)


def test_a_run_is_found_by_name_id_beginning_or_as_the_last(store: SqlStore) -> None:
    first, second = add(store, "demo", 1), add(store, "demo", 2)
    assert show(store, "demo")["id"] == show(store, "last")["id"] == second
    assert show(store, first)["id"] == show(store, first.lower())["id"] == first


@pytest.mark.parametrize("wanted", ["other", "%", "_", "", "demo%"])
def test_what_no_run_is_called_is_refused(store: SqlStore, wanted: str) -> None:
    add(store, "demo", 1)
    with pytest.raises(InputError, match="no run has the name or id"):
        show(store, wanted)


def test_a_beginning_of_several_ids_is_refused(store: SqlStore) -> None:
    keys = [add(store, "demo", at) for at in (1, 2)]
    with pytest.raises(InputError, match="several runs have"):
        show(store, keys[0][:1])


def test_a_run_comes_with_its_events_checkpoints_and_newest_metrics(store: SqlStore) -> None:
    key, other = add(store, "demo", 1), add(store, "other", 2)
    for step, value in ((1, 9.0), (10, 5.0), (2, 7.0)):
        store.runs.record_metric(key, step=step, name="loss", value=value).result(10)
    store.runs.record_metric(other, step=99, name="loss", value=1.0).result(10)
    store.runs.record_metric(key, step=2, name="score", value=0.5).result(10)
    store.runs.record_event(key, kind="resumed", step=3, detail={"a": 1}).result(10)
    for step in (20, 10):
        store.runs.record_checkpoint(StoredCheckpoint(run_id=key, step=step, path=str(step))).result(10)
    run = show(store, "demo")
    assert run["config"] == {"at": 1}
    assert run["metrics"] == {"loss": {"step": 10, "value": 5.0}, "score": {"step": 2, "value": 0.5}}
    assert [(event["kind"], event["detail"]) for event in run["events"]] == [("resumed", {"a": 1})]  # type: ignore[attr-defined]
    assert [saved["path"] for saved in run["checkpoints"]] == ["10", "20"]  # type: ignore[attr-defined]


def test_the_course_of_a_metric_is_in_the_order_of_its_steps(store: SqlStore) -> None:
    run_id = store.runs.record_run(StoredRun(name="x", kind="train", config={}, directory="x")).result(10)
    for step, value in ((2, 0.5), (1, 0.25), (3, 0.75)):
        store.runs.record_metric(run_id, step=step, name="score", value=value).result(10)
    store.runs.record_metric(run_id, step=1, name="other", value=9.0).result(10)
    with store.database.read() as connection:
        assert metric_course(connection, run_id, "score") == ((1, 0.25), (2, 0.5), (3, 0.75))
        assert metric_course(connection, run_id, "none") == ()


def test_the_checkpoint_that_answered_last_comes_first_and_those_that_are_gone_not_at_all(store: SqlStore) -> None:
    run_id = add(store, "demo", 1)
    for step, state in enumerate(("valid", "valid", "purged", "valid")):
        saved = StoredCheckpoint(run_id=run_id, step=step, path=f"step-{step}", manifest_sha256=str(step), state=state)
        store.runs.record_checkpoint(saved).result(10)
    for at, (name, digest) in enumerate((("a", "1"), ("b", "0"), ("a", "1"), ("b", "2"), ("c", "other"))):
        request = tiny_request(model_name=name, model_sha256=digest, received_at=at + 1)
        store.record(request, StoredAnswer()).result(10)
    with store.database.read() as connection:
        assert checkpoints_that_answered(connection) == ("step-1", "step-0")
        assert checkpoints_that_answered(connection, name="b") == ("step-0",)


def test_only_a_whole_id_finds_a_run_exactly(store: SqlStore) -> None:
    key = add(store, "demo", 1)
    with store.database.read() as connection:
        found = find_run(connection, key)
        assert found is not None and found["name"] == "demo"
        assert [find_run(connection, wanted) for wanted in ("demo", key[:25], key.lower(), "")] == [None] * 4


def test_the_newest_events_come_in_their_order_and_metrics_by_step(store: SqlStore) -> None:
    key, other = add(store, "demo", 1), add(store, "other", 2)
    for step in (1, 2, 3):
        store.runs.record_event(key, kind=f"event {step}", step=step).result(10)
        store.runs.record_metric(key, step=4 - step, name="f1", value=float(step)).result(10)
        store.runs.record_metric(other, step=step, name="f1", value=0.0).result(10)
    store.runs.record_metric(key, step=1, name="bleu", value=9.0).result(10)
    with store.database.read() as connection:
        assert [event["kind"] for event in newest_events(connection, key, limit=2)] == ["event 2", "event 3"]
        courses = list(metric_courses(connection, key))
    assert courses == [(1, "bleu", 9.0), (1, "f1", 3.0), (2, "f1", 2.0), (3, "f1", 1.0)]
