"""Training runs over HTTP: seen by those who may, while they go on, and no path leads anywhere else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from banyan.store.keys import create_key
from banyan.testing.recorded_runs import TASKS, add_losses, record_tiny_run
from banyan.testing.serving import RunningServer


@pytest.fixture(scope="module")
def watcher(server: RunningServer) -> Iterator[httpx.Client]:
    key = create_key(server.store.database, name="watcher", scopes=("runs",)).secret
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=30, verify=False) as client:
        yield client


def test_a_run_is_seen_while_it_goes_on(server: RunningServer, watcher: httpx.Client, tmp_path: Path) -> None:
    key = record_tiny_run(server.store, tmp_path / "grove")
    listed = watcher.get("/v1/runs", params={"limit": 1}).json()
    assert [(row["id"], row["name"], row["state"]) for row in listed["data"]] == [(key, "grove", "running")]
    story = watcher.get(f"/v1/runs/{key}").json()
    assert (story["num_steps"], story["newest"]["step"], story["newest"]["grad_norm"]) == (40, 20, None)
    assert story["task_losses"]["steps"] == list(range(1, 21))
    assert story["task_losses"]["curves"][TASKS[1]][9] == pytest.approx(4.9)
    scores = {"novels/perplexity": [890.0, 880.0], "score": [0.1, 0.2]}
    assert story["scores"] == {"steps": [10, 20], "curves": scores}
    alarm = {"signal": "slow_step", "value": 2.5, "threshold": 1.5, "action": "reported"}
    assert [(event["kind"], event["detail"]) for event in story["events"]] == [("started", {}), ("alarm", alarm)]
    add_losses(tmp_path / "grove", range(21, 41))
    server.store.runs.finish_run(key, state="completed").result(10)
    story = watcher.get(f"/v1/runs/{key}").json()
    assert (story["state"], story["newest"]["step"], len(story["loss"]["steps"])) == ("completed", 40, 40)
    assert str(tmp_path) not in watcher.get(f"/v1/runs/{key}").text


def test_samples_come_with_their_pictures_and_as_plain_text(
    server: RunningServer, watcher: httpx.Client, tmp_path: Path
) -> None:
    key = record_tiny_run(server.store, tmp_path / "grove")
    newest = watcher.get(f"/v1/runs/{key}/samples").json()
    words, drawn = newest["samples"]
    assert (newest["step"], words["answered"], words["right"]) == (20, "<b>tree</b>\n## stood", "榕树")
    assert drawn["asked"] == "a seven" and drawn["b64_png"].startswith("iVBOR")
    earlier = watcher.get(f"/v1/runs/{key}/samples", params={"step": 10}).json()
    assert [sample["answered"] for sample in earlier["samples"]] == ["house"]
    assert watcher.get(f"/v1/runs/{key}/samples", params={"step": 11}).status_code == 404
    assert watcher.get(f"/v1/runs/{key}/samples", params={"step": "x"}).status_code == 400


def test_a_run_whose_folder_is_another_ones_by_now_shows_what_the_database_knows(
    server: RunningServer, watcher: httpx.Client, tmp_path: Path
) -> None:
    key = record_tiny_run(server.store, tmp_path / "grove")
    (tmp_path / "grove" / "run.json").write_text('{"run_id": "another"}')
    story = watcher.get(f"/v1/runs/{key}").json()
    assert (story["has_files"], story["newest"], story["loss"]["steps"]) == (False, None, [])
    assert story["scores"]["curves"]["score"] == [0.1, 0.2]
    assert watcher.get(f"/v1/runs/{key}/samples").json()["step"] is None


@pytest.mark.parametrize("name", ["last", "grove", "..%2F..%2Fetc", "0" * 26, "a" * 26, "%00", "' OR 1=1 --"])
def test_nothing_but_a_whole_known_id_names_a_run(watcher: httpx.Client, name: str) -> None:
    for path in (f"/v1/runs/{name}", f"/v1/runs/{name}/samples"):
        assert watcher.get(path).status_code == 404, path


def test_a_key_sees_no_runs_unless_it_was_made_for_that(client: httpx.Client) -> None:
    refused = client.get("/v1/runs")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "insufficient_scope")
