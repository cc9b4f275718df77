"""`banyan train`, as typed: refusals before any work, a clean stop, and a resume to the same bits."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from banyan.core.locks import hold_directory
from banyan.testing.processes import started

Run = Callable[..., Any]


def write_rows(path: Path, num: int = 24) -> Path:
    rows = [{"text": f"{['red', '蓝色'][n % 2]} thing {n}", "label": ["warm", "cold"][n % 2]} for n in range(num)]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def recipe_of(rows: object, **changes: Any) -> dict[str, Any]:
    return {
        "name": "small",
        "model": {"num_layers": 1, "num_heads": 2, "num_kv_heads": 1, "embed_dim": 16, "head_dim": 8, "ffn_dim": 16},
        "tokenizer": {"vocab_size": 260},
        "train": {"steps": 4, "seq_len": 32, "micro_batch_seqs": 2, "checkpoint_every": 2, "keep_checkpoints": 9},
        "tasks": [{"name": "area", "kind": "classification", "data": {"train": str(rows), "validation_fraction": 0.2}}],
        **changes,
    }


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe_of(write_rows(tmp_path / "rows.jsonl")), sort_keys=False))
    return path


def weights(run: Path, step: int) -> bytes:
    return (run / f"checkpoints/step-{step:08d}/model.safetensors").read_bytes()


def has_begun(run: Path) -> bool:
    metrics = run / "metrics.jsonl"
    return metrics.exists() and metrics.stat().st_size > 0


def test_a_run_ends_with_a_summary_for_programs_and_a_record(banyan: Run, recipe: Path, tmp_path: Path) -> None:
    summary = banyan("train", recipe, "--json").answer
    assert (summary["stopped_by"], summary["steps"], summary["run"]) == ("completed", 4, str(tmp_path / "runs/small"))
    assert Path(summary["best"]).is_dir() and 0 < summary["best_score"] <= 1
    assert summary["skipped_rows"] == {"area": 0} and summary["finishes"] == {}


def test_a_run_that_is_over_goes_on_with_its_finishes(banyan: Run, recipe: Path, tmp_path: Path) -> None:
    banyan("train", recipe)
    summary = banyan("train", recipe, "finish.steps=2", "--resume", "--json").answer
    assert list(summary["finishes"]) == ["area"] and summary["finishes"]["area"]["num_examples"] == 5
    is_kept = summary["finishes"]["area"]["improvement"] > 0
    assert (tmp_path / "runs/small/finished/finishes/area").is_dir() == is_kept
    (run,) = banyan("runs", "list", "--json").answer["runs"]
    assert (run["name"], run["state"], run["exit_code"]) == ("small", "completed", 0)


def test_a_person_is_told_how_it_went_and_what_to_type_next(banyan: Run, recipe: Path, tmp_path: Path) -> None:
    ran = banyan("train", recipe, "train.steps=2")
    assert ran.code == 0
    assert "2 steps in" in ran.out and f"next: banyan evaluate {tmp_path / 'runs/small'}/best" in ran.out
    assert [line.split(":")[0] for line in ran.err.splitlines()] == [
        "read data",
        "tokenizer",
        "render examples",
        "train",
    ]


def test_quiet_prints_nothing(banyan: Run, recipe: Path) -> None:
    ran = banyan("train", recipe, "train.steps=1", "--quiet")
    assert (ran.code, ran.out, ran.err) == (0, "", "")


def test_a_saved_run_is_neither_begun_again_nor_changed(banyan: Run, recipe: Path, tmp_path: Path) -> None:
    banyan("train", recipe, "--quiet")
    saved = (tmp_path / "runs/small/recipe.yaml").read_bytes()
    again = banyan("train", recipe, "train.steps=9")
    assert again.code == 2 and "came to step 4" in again.error and "--resume" in again.err
    assert (tmp_path / "runs/small/recipe.yaml").read_bytes() == saved
    other = banyan("train", recipe, "model.num_layers=2", "--resume")
    assert other.code == 2 and "the recipe's model.num_layers is not what the run began with (1, now 2)" in other.error
    finished = banyan("train", recipe, "--resume", "--json")
    assert (finished.code, finished.answer["steps"]) == (0, 4)


def test_a_run_does_not_go_on_with_other_rows(banyan: Run, recipe: Path, tmp_path: Path) -> None:
    banyan("train", recipe, "--quiet")
    write_rows(tmp_path / "rows.jsonl", 26)
    ran = banyan("train", recipe, "--resume")
    assert ran.code == 5
    assert "not those the run began with" in ran.error and "--accept-data-change" in ran.err
    assert banyan("train", recipe, "train.steps=6", "--resume", "--accept-data-change", "--quiet").code == 0
    events = banyan("runs", "show", "small", "--json").answer["events"]
    assert {"data_changed", "recipe_changed"} <= {event["kind"] for event in events}


def test_a_run_that_another_process_holds_is_left_alone(banyan: Run, recipe: Path, tmp_path: Path) -> None:
    with hold_directory(tmp_path / "runs/small"):
        ran = banyan("train", recipe)
    assert ran.code == 8
    assert f"locked by pid {os.getpid()}" in ran.error
    assert not (tmp_path / "runs/small/tokenizer").exists()


def test_ctrl_c_saves_and_resume_ends_with_the_same_bits(banyan: Run, recipe: Path, tmp_path: Path) -> None:
    """A real process gets a real SIGINT somewhere between its first step and its last."""
    steps = 200
    intervals = [f"train.{name}_every={steps}" for name in ("checkpoint", "evaluate")]
    words = ["train", str(recipe), f"train.steps={steps}", *intervals, "train.log_every=1"]
    run = tmp_path / "runs/small"
    command, environment = [sys.executable, "-m", "banyan", *words], {**os.environ, "OMP_NUM_THREADS": "1"}
    with started(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment) as process:
        deadline = time.monotonic() + 120
        while not has_begun(run) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=120)
    assert process.returncode == 130
    step = int(said.split()[2].rstrip(";"))
    assert 0 < step < steps and said == f"saved step {step}; go on with: banyan {' '.join(words)} --resume\n"
    assert (run / "best").resolve() == run / f"checkpoints/step-{step:08d}"

    resumed = banyan(*words, "--resume", "--json")
    assert (resumed.code, resumed.answer["steps"]) == (0, steps)
    banyan(*words, "name=whole", "--quiet")
    assert weights(run, steps) == weights(tmp_path / "runs/whole", steps)

    (whole, stopped) = banyan("runs", "list", "--json").answer["runs"]
    assert (whole["name"], stopped["name"], stopped["state"]) == ("whole", "small", "completed")
    events = banyan("runs", "show", "small", "--json").answer["events"]
    assert [event["kind"] for event in events][:1] == ["started"] and "resumed" in [event["kind"] for event in events]


def test_sigterm_saves_too_and_says_so_in_the_exit_code(banyan: Run, recipe: Path, tmp_path: Path) -> None:
    is_over = threading.Event()  # a run that ends before it has begun leaves nobody who would hear the signal

    def stop_when_begun() -> None:
        while not has_begun(tmp_path / "runs/small"):
            if is_over.wait(0.005):
                return
        os.kill(os.getpid(), signal.SIGTERM)

    killer = threading.Thread(target=stop_when_begun)
    killer.start()
    try:
        ran = banyan(
            "train", recipe, "train.steps=5000", "train.evaluate_every=5000", "train.checkpoint_every=5000", "--json"
        )
    finally:
        is_over.set()
        killer.join()
    assert ran.code == 143
    assert ran.answer["stopped_by"] == "interrupt" and 0 < ran.answer["steps"] < 5000
    (run,) = banyan("runs", "list", "--json").answer["runs"]
    assert (run["state"], run["exit_code"]) == ("interrupted", 143)


@pytest.mark.parametrize(
    ("override", "code", "problem"),
    [
        ("train.stepz=3", 2, "unknown key 'train.stepz'; did you mean steps?"),
        ("train.steps=abc", 2, "recipe.yaml:"),
        ("train.steps", 2, "is not of the form key=value"),
        ("train.steps=0", 2, "train.steps=0 must be 1 or more"),
        ("tasks.0.nam=x", 2, "did you mean name?"),
        ("tasks.are.name=x", 2, "no item 'are'; did you mean area?"),
        ("tasks=[]", 2, "tasks is empty"),
        ("tasks.area.kind=clasification", 2, "did you mean classification?"),
        ("tasks.area.labels=[cold]", 2, "at least two different labels"),
        ("name=..", 2, "cannot be a folder's name"),
        ("name=../other", 2, "cannot be a folder's name"),
        ("name=", 2, "name"),
        ("seed=-1", 2, "seed=-1 must lie between 0 and"),
        ("seed=99999999999999999999", 2, "seed=99999999999999999999"),
        ("minutes=-1", 2, "minutes=-1"),
        ("minutes=.nan", 2, "minutes=nan"),
        ("device=cuda", 2, "device='cuda'"),
        ("device=tpu9", 2, "is not a device"),
        ("model.preset=banyan-nan", 2, "did you mean banyan-nano?"),
        ("model.max_seq_len=8", 2, "is shorter than train.seq_len=32"),
        ("model.num_kv_heads=3", 2, "num_kv_heads=3"),
        ("optimizer.learning_rate=-1", 2, "optimizer.learning_rate=-1"),
        ("evaluation.max_test_examples=0", 2, "evaluation.max_test_examples=0"),
        ("image_tokenizer.patch_size=0", 2, "image_tokenizer.patch_size=0"),
        ("tokenizer.vocab_size=20", 2, "at least 256"),
        ("tokenizer.path=nope.json", 3, "nope.json not found"),
        ("tokenizer.path=recipe.yaml", 4, "recipe.yaml: tokenizer.json cannot be read"),
        ("sampling={aria: {}}", 2, "did you mean area?"),
    ],
)
def test_a_recipe_that_cannot_be_used_is_one_line(
    banyan: Run, recipe: Path, override: str, code: int, problem: str
) -> None:
    ran = banyan("train", recipe.name, override)
    assert ran.code == code
    assert problem in ran.error


@pytest.mark.parametrize(
    ("content", "code", "problem"),
    [
        (None, 3, "recipe.yaml not found"),
        (b"", 2, "must be a YAML mapping (key: value), got nothing"),
        (b"- a\n- b\n", 2, "got list"),
        (b"\x00\x01\x02", 2, "recipe.yaml:1 is not valid YAML"),
        (b"name: caf\xe9\n", 3, "recipe.yaml is not UTF-8 at byte 9 (0xe9)"),
        (b"name: a\n\nb: [1\n  c: 2", 2, "recipe.yaml:4 is not valid YAML"),
        (b"name: a\nextends: recipe.yaml\n", 2, "extends itself"),
        (b"extends: parent.yaml\n", 3, "parent.yaml not found"),
        (b"name: a\ntasks:\n  - name: x\n    kind: classification\n    typo: 1\n", 2, "recipe.yaml:5: unknown key"),
    ],
    ids=["missing", "empty", "list", "binary", "latin", "yaml", "circle", "orphan", "typo"],
)
def test_a_file_that_is_no_recipe_is_one_line(banyan: Run, content: bytes | None, code: int, problem: str) -> None:
    if content is not None:
        Path("recipe.yaml").write_bytes(content)
    ran = banyan("train", "recipe.yaml")
    assert ran.code == code
    assert problem in ran.error


def test_a_folder_a_pipe_and_a_circle_are_no_recipes(banyan: Run, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "circle").symlink_to("circle")
    problems = {name: banyan("train", name) for name in ("folder", "pipe", "circle")}
    assert {ran.code for ran in problems.values()} == {3}
    assert "is a directory" in problems["folder"].error
    assert "is a pipe" in problems["pipe"].error
    assert "symbolic links" in problems["circle"].error


@pytest.mark.parametrize(
    ("content", "code", "problem"),
    [
        (None, 3, "rows.jsonl is neither a file or folder nor a data set of the catalog"),
        (b"", 5, "rows.jsonl is empty"),
        (b"\x00\x01\xff\xfe", 3, "rows.jsonl is a binary file"),
        (b'{"text": "caf\xe9", "label": "a"}\n', 3, "rows.jsonl is not UTF-8 at byte 13"),
        (b'{"text": "a", "label": "a"}\n{"text": ', 5, "rows.jsonl line 2 is not valid JSON"),
        (b"".join(b'{"tokens": ["%d"], "tags": ["O"]}\n' % n for n in range(9)), 5, "the row has no 'label'"),
        (b'{"text": "a", "label": "a"}\n' * 9, 5, "too few to hold out"),
    ],
    ids=["missing", "empty", "binary", "latin", "half", "other task", "all alike"],
)
def test_data_that_cannot_be_learned_from_is_one_line(
    banyan: Run, recipe: Path, tmp_path: Path, content: bytes | None, code: int, problem: str
) -> None:
    (tmp_path / "rows.jsonl").unlink()
    if content is not None:
        (tmp_path / "rows.jsonl").write_bytes(content)
    ran = banyan("train", recipe)
    assert ran.code == code
    assert problem in ran.error


def test_a_mark_at_the_start_and_windows_line_ends_do_no_harm(banyan: Run, recipe: Path, tmp_path: Path) -> None:
    for path in (recipe, tmp_path / "rows.jsonl"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert banyan("train", recipe, "train.steps=1", "--json").answer["steps"] == 1


@pytest.mark.parametrize(
    ("address", "code", "problem"),
    [
        pytest.param(
            *("postgresql://me:secret@127.0.0.1:1/x", 10, "127.0.0.1"),
            marks=pytest.mark.skipif(find_spec("psycopg") is None, reason="needs the extra banyan-gpt[postgres]"),
        ),
        ("mysql://x", 2, "only sqlite:// and postgresql:// are known"),
        ("recipe.yaml", 10, "recipe.yaml"),
    ],
)
def test_a_database_that_cannot_be_used_is_found_out_first(
    banyan: Run, recipe: Path, tmp_path: Path, address: str, code: int, problem: str
) -> None:
    ran = banyan("train", recipe.name, "--database", address)
    assert ran.code == code
    assert problem in ran.error and "secret" not in ran.err
    assert not (tmp_path / "runs/small").exists()


@pytest.mark.skipif(not os.path.ismount("/proc") or os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_keeps_what_was_complete(banyan: Run, recipe: Path, tmp_path: Path, monkeypatch: Any) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=500k", "tmpfs", small], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        monkeypatch.setenv("BANYAN_RUNS", str(small))
        ran = banyan("train", recipe, "train.steps=40", "train.checkpoint_every=1", "train.keep_checkpoints=40")
        assert ran.code == 6
        assert "the disk is full" in ran.error
        assert banyan("predict", small / "small/best", "area", "red", "--json").answer["predictions"]
    finally:
        subprocess.run(["umount", "--lazy", small], check=True)
