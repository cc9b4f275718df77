"""What comes at the wrong time: a clock that jumps, a save during a step, a database that is away, an old format."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from banyan.core.model_directory import MANIFEST, write_manifest
from proofs.evidence import Cell
from proofs.postgres import own_postgres
from proofs.training.bench import Bench, Place, digest_of, weights_digest
from proofs.training.disks import UNRECORDED, recorded_events, slow_steps
from proofs.training.processes import run_here
from proofs.training.recipes import NUM_STEPS

_AWAY_SECONDS = 30.0
_NUM_RACES = 100
FIXTURES = Path(__file__).resolve().parents[2] / "tests/fixtures"


def clock_jumped(bench: Bench, trial: str) -> str:
    """Let files have the times of a clock that ran backwards, stood still, or jumps while the run goes on."""
    golden = bench.golden("pretraining")
    place = bench.place(f"clock-{trial}".replace(" ", "-"))
    jump = _jumping_clock if trial == "jumps while it runs" else None
    place.train("train.steps=30", "train.keep_checkpoints=9", fault=jump).expect(0)
    now = time.time()
    for number, step in enumerate(place.steps()):
        then = {"runs backwards": now - 3600 * number, "stands still": 1e9}.get(trial, now - 86400 * number)
        for path in (*place.checkpoint(step).iterdir(), place.checkpoint(step)):
            os.utime(path, (then, then))
    newest = place.steps()[-1]
    place.train("--resume", fault=jump).expect(0)
    assert place.events("resumed")[-1]["step"] == newest, "it did not go on from the newest step"
    assert place.steps()[-1] == NUM_STEPS
    expected = _lengthened(bench)
    assert weights_digest(place.run) == expected, "the final state differs"
    assert golden.digest
    place.clear()
    return f"went on from step {newest}, by number"


def _lengthened(bench: Bench) -> str:
    """Return the digest of a run of 30 steps that was then made longer: its schedule is another than the golden one."""
    place = bench.place("clock-reference")
    place.train("train.steps=30", "train.keep_checkpoints=9").expect(0)
    place.train("--resume").expect(0)
    return weights_digest(place.run)


def _jumping_clock() -> None:
    """Let Python's wall clock in this process go back a day at every second question."""
    real, count = time.time, [0]

    def jumping() -> float:
        count[0] += 1
        return real() - 86400 * (count[0] % 2)

    time.time = jumping
    time.time_ns = lambda: int(jumping() * 1e9)


def changed_during_a_save(bench: Bench, trial: str) -> str:
    """Overwrite every weight right after a save was asked for, 100 times; what is saved is what was there before."""
    place = bench.place("race")
    run_here(place.directory, lambda: _race(place.directory / "run")).expect(0)
    place.clear()
    return f"{_NUM_RACES} of {_NUM_RACES} saves hold what was there when they were asked for"


def _race(directory: Path) -> None:
    import torch
    from safetensors.torch import load_file

    from banyan.testing.training import tiny_learner
    from banyan.train.division import Undivided, WholeState
    from banyan.train.optimizer import OptimizerConfig, build_optimizer
    from banyan.train.saver import RunSaver, SavedParts
    from banyan.train.state import Progress, TransformerFiles

    model = tiny_learner()
    optimizer = build_optimizer(model, OptimizerConfig())
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    parts = SavedParts(
        model=model,
        optimizer=optimizer,
        division=Undivided(state=WholeState(model=model, optimizer=optimizer)),
        weight_files=TransformerFiles(),
        settings={},
        sidecars={},
    )
    saver = RunSaver(directory, parts=parts, keep=1, in_background=True)
    saver.check_fresh()
    reference = directory.parent / "reference"
    for step in range(1, _NUM_RACES + 1):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_()
            for tensor in optimizer.tensors().values():
                if tensor.is_floating_point() and tensor.ndim:
                    tensor.normal_()
        memory = {name: tensor.clone() for name, tensor in optimizer.tensors().items()}
        shutil.rmtree(reference, ignore_errors=True)
        reference.mkdir()
        TransformerFiles().save(model, reference)
        saver.save(Progress(step=step), loader_state={}, must_succeed=False)
        with torch.no_grad():  # at once, while the file is being written
            for tensor in (*model.parameters(), *optimizer.tensors().values()):
                tensor.fill_(-step)
        saver.finished(Progress(step=step), wait=True)
        saved = saver.path(step)
        for path in reference.glob("*.safetensors"):
            assert path.read_bytes() == (saved / path.name).read_bytes(), f"save {step}: {path.name} was overtaken"
        found = load_file(saved / "optimizer.safetensors")
        assert all(torch.equal(memory[name], found[name]) for name in memory), f"save {step}: optimizer was overtaken"


# ------------------------------------------------------------------------------- a database that is away


def database_away(bench: Bench, trial: str) -> str:
    """Take the database away for 30 seconds of a run; training does not wait, and every event is recorded once."""
    golden = bench.golden("pretraining")
    place = bench.place(f"database-{trial}".replace(" ", "-"))
    with _postgres() if trial == "PostgreSQL stopped" else _sqlite(place) as (address, stop, start, read):
        database = {"environment": {"BANYAN_DATABASE": address}}
        child = place.train("--database", address, fault=lambda: slow_steps(0.75), **database)
        deadline = time.monotonic() + 60
        while not place.steps():
            assert time.monotonic() < deadline and child.is_running(), child.said()
            time.sleep(0.05)
        stop()
        before = place.last_step()
        time.sleep(_AWAY_SECONDS)
        during = place.last_step() - before
        start()
        child.expect(0)
        assert during >= 20, f"only {during} steps were done in the {_AWAY_SECONDS:.0f} s"
        place.train("--resume", "--database", address, **database).expect(0)  # hands over what was left, if anything
        recorded = read()
    assert digest_of(place.run) == golden.digest, "the final state differs from that of the undisturbed run"
    expected = [(event["step"], event["event"]) for event in place.events() if event["event"] not in UNRECORDED]
    assert sorted(recorded) == sorted(expected), f"recorded {sorted(recorded)}, expected {sorted(expected)}"
    assert not (place.run / "unrecorded.jsonl").exists(), "something still waits"
    place.clear()
    return f"{during} steps while it was away; {len(recorded)} events recorded, each once"


@contextmanager
def _sqlite(place: Place) -> Iterator[tuple[Any, ...]]:
    path = place.directory / "locked.db"
    held: list[sqlite3.Connection] = []

    def stop() -> None:
        connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        connection.execute("BEGIN EXCLUSIVE")
        held.append(connection)

    def start() -> None:
        held[0].execute("ROLLBACK")
        held[0].close()

    yield f"sqlite:///{path}", stop, start, lambda: recorded_events(str(path))


@contextmanager
def _postgres() -> Iterator[tuple[Any, ...]]:
    """Start a PostgreSQL of our own: what it takes to stop it at once, start it and read it."""
    with own_postgres() as server:
        address = server.create("proof")

        def read() -> list[tuple[int, str]]:
            import psycopg  # an extra, which is there where the server could be started

            with psycopg.connect(f"host={server.folder} user=banyan dbname=proof") as connection:
                return list(connection.execute("SELECT step, kind FROM run_events").fetchall())

        yield address, server.stop, server.start, read


# ------------------------------------------------------------------------------- another recipe, another version


def recipe_changed(bench: Bench, trial: str) -> str:
    """Resume with another key: rates are allowed and logged, shapes are refused."""
    place = bench.place(f"drift-{trial}".replace("=", "-"))
    place.train("train.steps=7").expect(0)
    if trial.startswith(("optimizer.", "train.")):
        place.train("train.steps=14", trial, "--resume").expect(0)
        logged = [event["changed"] for event in place.events("recipe_changed")]
        key = trial.partition("=")[0]
        assert logged and key in logged[-1], f"{key} was not logged: {logged}"
        seen = f"logged as {logged[-1][key]}"
    else:
        said = place.train("train.steps=14", trial, "--resume").expect(2, "is not what the run began with")
        seen = said.strip().splitlines()[-2][-80:]
    place.clear()
    return seen


def of_an_old_version(bench: Bench, trial: str) -> str:
    """Go on with a checkpoint that an earlier version wrote, or that a version to come has written."""
    place = bench.place(f"version-{trial}".replace(" ", "-"))
    fixture = FIXTURES / "run-format-1"
    for name in ("recipe.yaml", "rows.jsonl"):
        shutil.copy(fixture / name, place.directory)
    shutil.copytree(fixture / "run", place.run, symlinks=True)
    if trial == "format 1":
        place.train("--resume").expect(0)
        (resumed,) = [event for event in place.events("resumed") if event["step"]]
        place.clear()
        return f"went on from step {resumed['step']} to the end"
    checkpoint = place.checkpoint(place.steps()[-1])
    state = json.loads((checkpoint / "state.json").read_text())
    (checkpoint / "state.json").write_text(json.dumps(state | {"version": 99}))
    (checkpoint / MANIFEST).unlink()
    write_manifest(checkpoint)
    said = place.train("--resume").expect(4, "version 99", "hint: ")
    place.clear()
    return "exit 4: " + said.strip().splitlines()[-1]


_DRIFTS = (
    "optimizer.learning_rate=0.001",
    "train.log_every=5",
    "tokenizer.vocab_size=320",
    "model.embed_dim=64",
    "seed=8",
)
CELLS = (
    Cell(
        number="D-28",
        fault="file times that run backwards, stand still; a clock that jumps back a day at every second question",
        passes_if="goes on from the highest step",
        trials=("runs backwards", "stands still", "jumps while it runs"),
        run=clock_jumped,
    ),
    Cell(
        number="D-29",
        fault="every weight and all optimizer memory overwritten right after a save in the background was asked for",
        passes_if="the saved bits are those from before, 100 of 100",
        trials=("100 races",),
        run=changed_during_a_save,
    ),
    Cell(
        number="D-30",
        fault="the database away for 30 s: PostgreSQL stopped at once, SQLite locked",
        passes_if="training goes on, every event is recorded exactly once",
        trials=("PostgreSQL stopped", "SQLite locked"),
        run=database_away,
    ),
    Cell(
        number="D-31",
        fault="another learning rate, interval, vocabulary, width or seed on resume",
        passes_if="harmless keys are used and logged; others are refused with exit 2",
        trials=_DRIFTS,
        run=recipe_changed,
    ),
    Cell(
        number="D-32",
        fault="a checkpoint of every released format; one of a format to come",
        passes_if="goes on, or exit 4 that says what to do",
        trials=("format 1", "format 99"),
        run=of_an_old_version,
    ),
)
