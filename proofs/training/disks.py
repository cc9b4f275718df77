"""Disks that are full, or that cannot be written; a machine with too little memory."""

from __future__ import annotations

import os
import resource
import sqlite3
import time
from pathlib import Path

from banyan.core.model_directory import verify_manifest
from proofs.evidence import Cell, NotPossibleHereError
from proofs.small_disk import leave_free, small_disk
from proofs.training.bench import Bench, Place, digest_of, json_lines, weights_digest

_NOBODY = 65534
_SMALL_MB = 8  # of the small disks


def _checkpoint_bytes(bench: Bench) -> int:
    files = (bench.golden("pretraining").run_directory / "last").resolve().iterdir()
    return sum(path.stat().st_size for path in files)


def slow_steps(seconds: float) -> None:
    """Let this process wait after every step, so that something can be done to it in the middle."""
    from banyan.train.stepper import Stepper

    step = Stepper.step

    def slow_step(*args: object, **options: object) -> object:
        time.sleep(seconds)
        return step(*args, **options)  # type: ignore[arg-type]

    Stepper.step = slow_step  # type: ignore[method-assign, assignment]


def _wait_for_checkpoint(place: Place, number: int = 1) -> None:
    deadline = time.monotonic() + 120
    while len(place.steps()) < number:
        assert time.monotonic() < deadline, "the run never saved"
        time.sleep(0.002)


def full_while_saving(bench: Bench, trial: str) -> str:
    """Fill the disk of the run; it logs that, trains on, and ends with exit 6 at the third failure if nothing helps."""
    golden, size = bench.golden("pretraining"), _checkpoint_bytes(bench)
    place = bench.place(f"full-{trial}".replace(" ", "-"))
    with small_disk(place.run.parent, num_bytes=_SMALL_MB << 20) as disk:
        if trial == "from the start":
            leave_free(disk, int(1.3 * size))
            said = place.train().expect(6, "need ", " free")
            assert not place.last_step(), "it trained"
            return f"exit 6 before step 1: {said.strip().splitlines()[-2][:80]}"
        child = place.train(fault=lambda: slow_steps(0.05))
        _wait_for_checkpoint(place)
        ballast = leave_free(disk, int(0.3 * size))
        if trial == "until the end":
            child.expect(6, "the disk is full")
            failures = place.events("checkpoint_failed")
            assert len(failures) >= 2, f"{len(failures)} failures were logged"
            verify_manifest(place.checkpoint(place.steps()[-1]))
            assert not list((place.run / "checkpoints").glob("*.tmp-*")), "half a checkpoint was left"
            ballast.unlink()
            place.train("--resume").expect(0)
        else:  # for a while
            while not place.events("checkpoint_failed"):
                assert child.is_running(), child.said()
                time.sleep(0.01)
            ballast.unlink()
            child.expect(0)
        assert weights_digest(place.run) == weights_digest(golden.run_directory), "the final state differs"
        failures = place.events("checkpoint_failed")
        return f"{len(failures)} failed saves logged, final state equal"


def database_full(bench: Bench, trial: str) -> str:
    """Fill the disk of the database; training does not care, and what was missed is recorded later, once."""
    golden = bench.golden("pretraining")
    place = bench.place("database-full")
    with small_disk(place.directory / "store", num_bytes=_SMALL_MB << 20) as disk:
        database = {"environment": {"BANYAN_DATABASE": f"sqlite:///{disk / 'banyan.db'}"}}
        child = place.train(fault=lambda: slow_steps(0.02), **database)
        _wait_for_checkpoint(place)
        ballast = leave_free(disk, 0)
        child.expect(0)
        assert digest_of(place.run) == golden.digest, "the final state differs from that of the undisturbed run"
        waiting = len(json_lines(place.run / "unrecorded.jsonl"))
        assert waiting, "nothing had to wait: the disk was not full"
        ballast.unlink()
        place.train("--resume", **database).expect(0)
        assert not (place.run / "unrecorded.jsonl").exists(), "something still waits"
        recorded = recorded_events(f"{disk / 'banyan.db'}")
    expected = [(e["step"], e["event"]) for e in place.events() if e["event"] not in UNRECORDED]
    assert sorted(recorded) == sorted(expected), f"recorded {sorted(recorded)}, events.jsonl says {sorted(expected)}"
    place.clear()
    return f"{waiting} writes waited in the run directory, {len(recorded)} events recorded, each once"


UNRECORDED = {
    "evaluated",
    "checkpoint_saved",
    "ended",
}  # in events.jsonl; the database has tables of their own for them


def recorded_events(path: str) -> list[tuple[int, str]]:
    """Return step and kind of every event in a SQLite database."""
    connection = sqlite3.connect(path)
    try:
        return [(step, kind) for step, kind in connection.execute("SELECT step, kind FROM run_events")]
    finally:
        connection.close()


def not_writable(bench: Bench, trial: str) -> str:
    """Give the run a place it may not write to; it says so with exit 6 before anything else."""
    place = bench.place(f"read-only-{trial}".replace(" ", "-"))
    runs = place.directory / "runs"
    if trial == "read-only file system":
        with small_disk(runs, num_bytes=_SMALL_MB << 20, options=",ro"):
            said = place.train().expect(6, "cannot write")
    else:
        if os.geteuid() != 0:
            raise NotPossibleHereError("needs root, to become somebody else")
        for folder in (place.directory, *place.directory.parents[:6]):
            if not folder.stat().st_mode & 0o001:
                raise NotPossibleHereError("the folder of the trials is closed to other users")
        (place.run).mkdir(parents=True)
        os.chmod(place.run, 0o500)
        os.chmod(place.directory, 0o777)
        for output in place.directory.glob("*"):
            os.chmod(output, 0o777)
        os.chmod(runs, 0o555)
        said = place.train(user=_NOBODY).expect(6, "cannot write")
    assert not place.last_step(), "it trained"
    place.clear()
    return said.strip().splitlines()[-2][:100]


def out_of_memory(bench: Bench, trial: str) -> str:
    """Take the memory away; the run ends with exit 9 and a hint, and its checkpoint is whole."""
    sizes = {"micro_batch_seqs": 2000, "accumulation_steps": 1, "steps": 4, "checkpoint_every": 2, "evaluate_every": 4}
    place = bench.place("out-of-memory", train=sizes)
    place.train("train.steps=2").expect(0)

    def take_memory() -> None:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        limit = used + (500 << 20)  # a thread alone reserves 64 MB of addresses
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    said = place.train("--resume", fault=take_memory).expect(9, "out of memory", "hint: ")
    verify_manifest(place.checkpoint(2))
    place.train("--resume").expect(0)
    place.clear()
    return said.strip().splitlines()[-2][:100]


CELLS = (
    Cell(
        number="D-04",
        fault="the disk fills up while the run saves (a tmpfs), or has room for 1.3 checkpoints from the start",
        passes_if="logged, trains on, tries again, exit 6 after three; the checkpoint before is whole; refused at once "
        "where two checkpoints have no room",
        trials=("from the start", "for a while", "until the end"),
        run=full_while_saving,
    ),
    Cell(
        number="D-05",
        fault="the disk of the database fills up",
        passes_if="training is undisturbed, every event is recorded once when there is room",
        trials=("once",),
        run=database_full,
    ),
    Cell(
        number="D-06",
        fault="a run directory that may not be written: chmod 500 as another user, read-only file system",
        passes_if="exit 6 before step 1",
        trials=("no permission", "read-only file system"),
        run=not_writable,
    ),
    Cell(
        number="D-27",
        fault="address space limited to 500 MB more than the process has (RLIMIT_AS)",
        passes_if="exit 9 with a hint, checkpoint whole, goes on when there is memory",
        trials=("once",),
        run=out_of_memory,
    ),
)
