import pytest
from sqlalchemy import func, select

from banyan.core.errors import StoreError
from banyan.store.run_schema import CheckpointRow, EvaluationRow, RunEventRow, RunMetricRow, RunRow
from banyan.store.runs import list_runs
from banyan.store.sql_store import SqlStore
from banyan.store.types import StoredCheckpoint, StoredEvaluation, StoredRun


def rows(store: SqlStore, table: type) -> list[dict[str, object]]:
    with store.database.read() as connection:
        return [dict(row._mapping) for row in connection.execute(select(table.__table__))]  # type: ignore[attr-defined]


def test_a_run_is_written_when_it_starts_and_when_it_ends(store: SqlStore) -> None:
    run = StoredRun(name="demo", kind="train", config={"steps": 10, "b": None}, seed=1, directory="runs/demo")
    key = store.runs.record_run(run).result(10)
    (started,) = rows(store, RunRow)
    assert (started["id"], started["state"], started["ended_at"]) == (key, "running", None)
    assert started["config"] == {"steps": 10, "b": None}
    store.runs.finish_run(key, state="failed", exit_code=7).result(10)
    (ended,) = rows(store, RunRow)
    assert (ended["state"], ended["exit_code"]) == ("failed", 7) and ended["ended_at"]


def test_a_resumed_run_is_the_same_run(store: SqlStore) -> None:
    run = StoredRun(name="demo", kind="train", config={})
    store.runs.record_run(run).result(10)
    store.runs.finish_run(run.run_id, state="interrupted", exit_code=130).result(10)
    store.runs.record_run(run).result(10)
    (again,) = rows(store, RunRow)
    assert (again["state"], again["exit_code"], again["ended_at"]) == ("running", None, None)


def test_equal_configurations_have_equal_hashes(store: SqlStore) -> None:
    for config in ({"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 1, "b": 3}):
        store.runs.record_run(StoredRun(name="x", kind="train", config=config)).result(10)
    first, second, third = [row["config_sha256"] for row in rows(store, RunRow)]
    assert first == second != third


def test_what_happens_in_a_run_is_kept(store: SqlStore) -> None:
    key = store.runs.record_run(StoredRun(name="demo", kind="train", config={})).result(10)
    store.runs.record_event(key, kind="nan_skip", step=3, detail={"loss": "inf"}).result(10)
    store.runs.record_metric(key, step=3, name="loss", value=2.5).result(10)
    store.runs.record_metric(key, step=3, name="loss", value=2.25).result(10)
    (event,), (metric,) = rows(store, RunEventRow), rows(store, RunMetricRow)
    assert (event["kind"], event["step"], event["detail"]) == ("nan_skip", 3, {"loss": "inf"})
    assert (metric["name"], metric["step"], metric["value"]) == ("loss", 3, 2.25)


def test_a_checkpoint_is_saved_and_later_purged_under_one_name(store: SqlStore) -> None:
    key = store.runs.record_run(StoredRun(name="demo", kind="train", config={})).result(10)
    for state in ("valid", "purged"):
        saved = StoredCheckpoint(run_id=key, step=120, path="checkpoints/step-00000120", state=state)
        store.runs.record_checkpoint(saved).result(10)
    (row,) = rows(store, CheckpointRow)
    assert (row["step"], row["state"]) == (120, "purged")


def test_an_evaluation_knows_its_model(store: SqlStore) -> None:
    evaluation = StoredEvaluation(
        model_name="tiny", model_sha256="ab", dataset="trec", metric="accuracy", value=0.5, num_examples=4, ci_low=0.1
    )
    assert store.runs.record_evaluation(evaluation).result(10) == evaluation.evaluation_id
    (row,) = rows(store, EvaluationRow)
    assert row["model_id"] == store.add_model("tiny", sha256="ab").result(10)
    assert (row["value"], row["ci_low"], row["ci_high"]) == (0.5, 0.1, None)


def test_an_event_of_an_unknown_run_is_refused(store: SqlStore) -> None:
    with pytest.raises(StoreError, match="refused a row"):
        store.runs.record_event("nobody", kind="oom").result(10)


def test_the_newest_runs_are_listed_first(store: SqlStore) -> None:
    for at in (1, 3, 2):
        store.runs.record_run(StoredRun(name=str(at), kind="train", config={}, started_at=at)).result(10)
    with store.database.read() as connection:
        assert [run["name"] for run in list_runs(connection, limit=2)] == ["3", "2"]
        assert connection.scalar(select(func.count()).select_from(RunRow)) == 3
