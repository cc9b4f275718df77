import json
from pathlib import Path
from typing import Any

from banyan.tokenizers.pictures import image_from_bytes
from banyan.workflows.run_comparison import compare_runs, flat, save_plot


def row(directory: Path, *, name: str = "a", run_id: str = "01AAAA", **changes: Any) -> dict[str, Any]:
    config = {"seed": 0, "train": {"steps": 2}, "tasks": [{"name": "prose", "rate": 0.5}]}
    return {
        "id": run_id,
        "name": name,
        "state": "completed",
        "directory": str(directory),
        "config": config | changes,
        "metrics": {"score": {"step": 2, "value": 0.5}},
    }


def write_metrics(run: Path, losses: list[float | None]) -> None:
    run.mkdir()
    lines = [json.dumps({"step": n, "loss": loss, "seconds": n * 30}) for n, loss in enumerate(losses, start=1)]
    (run / "metrics.jsonl").write_text("\n".join(lines), encoding="utf-8")


def test_only_keys_that_differ_are_named_with_every_runs_value(tmp_path: Path) -> None:
    other = row(tmp_path, name="b", train={"steps": 2, "clip_norm": 1.0}, tasks=[{"name": "prose", "rate": 0.25}])
    compared = compare_runs([row(tmp_path), other], [(), ()])
    assert compared.differences == {"tasks.prose.rate": (0.5, 0.25), "train.clip_norm": (None, 1.0)}


def test_runs_of_one_name_are_told_apart_by_their_ids(tmp_path: Path) -> None:
    rows = [row(tmp_path, run_id=f"01AAA{n}") for n in (1, 2)]
    assert [run.label for run in compare_runs(rows, [(), ()]).runs] == ["a …AAA1", "a …AAA2"]


def test_the_last_line_says_how_far_a_run_came(tmp_path: Path) -> None:
    write_metrics(tmp_path / "run", [2.0, None, 1.0])
    (run, gone) = compare_runs([row(tmp_path / "run"), row(tmp_path / "gone")], [((2, 0.5),), ()]).runs
    assert (run.num_steps, run.loss, run.seconds) == (3, 1.0, 90)
    assert run.curves["loss by minute of training"] == ((0.5, 2.0), (1.5, 1.0))
    assert run.curves["score by step"] == ((2, 0.5),)
    assert (gone.num_steps, gone.loss) == (None, None) and gone.scores == {"score": 0.5}


def test_the_plot_has_a_panel_for_each_curve_that_is_there(tmp_path: Path) -> None:
    write_metrics(tmp_path / "run", [2.0, 1.0])
    rows = [row(tmp_path / "run"), row(tmp_path / "gone", name="b")]
    for courses, panels in (([(), ()], 2), ([((1, 0.1), (2, 0.5)), ((2, 0.4),)], 3)):
        save_plot(compare_runs(rows, courses), tmp_path / "plot.png")
        assert image_from_bytes((tmp_path / "plot.png").read_bytes()).width == 400 * panels


def test_runs_without_any_curve_still_give_a_picture(tmp_path: Path) -> None:
    save_plot(compare_runs([row(tmp_path), row(tmp_path)], [(), ()]), tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 0


def test_settings_are_flattened_by_key_and_by_name() -> None:
    assert flat({"a": {"b": 1}, "c": [1, 2], "d": [{"name": "x", "e": None}, {"f": 3}]}) == {
        "a.b": 1,
        "c": [1, 2],
        "d.x.name": "x",
        "d.x.e": None,
        "d.1.f": 3,
    }
