import json
from pathlib import Path
from typing import Any

import pytest

from banyan.core.errors import FileError
from banyan.core.locks import hold_directory
from banyan.workflows.diagnosis import diagnose, find_run, tell_episode


def write(run: Path, *events: dict[str, Any], recipe: str = "") -> Path:
    run.mkdir(exist_ok=True)
    (run / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    if recipe:
        (run / "recipe.yaml").write_text(recipe)
    return run


def alarm(signal: str, step: int, **detail: Any) -> dict[str, Any]:
    return {
        "event": "alarm", "step": step, "signal": signal, "where": None, "value": 8.0, "threshold": 6.0,
        "action": "skipped", "recent": [[step - 1, 0.5, 1.0]], **detail,
    }  # fmt: skip


STARTED, ENDED = {"event": "started", "step": 0}, {"event": "ended", "step": 500, "stopped_by": "completed"}
RECIPE = "name: a\ntasks: [{name: t, kind: language_modeling, data: {train: t.jsonl}}]\n"


def test_a_healthy_run_is_told_so(tmp_path: Path) -> None:
    found = diagnose(write(tmp_path, STARTED, ENDED, recipe=RECIPE))
    assert (found.state, found.step, found.episodes) == ("completed", 500, ())
    assert "nothing is wrong" in found.summary and not found.changes


def test_the_gravest_signal_comes_first_and_names_a_change(tmp_path: Path) -> None:
    lowered = {"event": "rewound", "step": 200, "from_step": 260, "learning_rate_scale": 0.3}
    found = diagnose(
        write(tmp_path, STARTED, alarm("plateau", 90), alarm("diverged", 260), lowered, ENDED, recipe=RECIPE)
    )
    assert [episode.signal for episode in found.episodes] == ["diverged", "plateau"]
    assert "since step 260" in found.summary
    assert found.changes["optimizer.learning_rate"] == pytest.approx(0.3 * 3e-3)
    assert any("went back to step 200" in remark for remark in found.remarks)


def test_an_episode_is_told_with_cause_remedy_and_outcome(tmp_path: Path) -> None:
    later = {
        "event": "alarm_followed_up", "step": 150, "signal": "bad_batch", "where": None, "since": 100, "count": 3,
        "loss_before": 0.5, "loss_after": 0.4,
    }  # fmt: skip
    found = diagnose(write(tmp_path, STARTED, alarm("bad_batch", 100), later, ENDED, recipe=RECIPE))
    text = "\n".join(tell_episode(found.episodes[0]))
    for part in ("step 100", "3 times", "8", "likely cause", "left out", "0.500 before, 0.400 after", "what to do"):
        assert part in text
    assert not found.changes  # the recipe is not at fault


def test_a_run_that_broke_off_is_told_apart_from_one_that_goes_on(tmp_path: Path) -> None:
    run = write(tmp_path, STARTED, ENDED, {"event": "resumed", "step": 500}, recipe=RECIPE)
    assert diagnose(run).state == "broken_off"
    with hold_directory(run):
        assert diagnose(run).state == "running"


def test_a_stopped_run_says_why(tmp_path: Path) -> None:
    stopped = {"event": "stopped", "step": 7, "reason": "nothing helped"}
    found = diagnose(write(tmp_path, STARTED, stopped, recipe=RECIPE))
    assert found.state == "stopped" and any("nothing helped" in remark for remark in found.remarks)


def test_damaged_files_are_one_clear_line_each(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="neither a run's folder nor a run"):
        find_run(str(tmp_path / "none"))
    run = write(tmp_path / "a", STARTED, alarm("diverged", 3), recipe="name: [")
    with (run / "events.jsonl").open("a") as file:
        file.write('{"event": "ala')
    (run / "metrics.jsonl").write_text('{"step": 1, "loss": null}\n[3]\nnonsense\n{"step": 2, "loss": 0.5}\n')
    found = diagnose(find_run(str(run)))
    assert not found.changes and any("not valid YAML" in remark for remark in found.remarks)
    assert found.losses == [(2, 0.5)]
    (run / "events.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FileError, match="holds no event"):
        diagnose(run)
