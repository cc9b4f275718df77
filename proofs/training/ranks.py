"""Two processes that train together, one of which dies, hangs, fails or brings a number that is none."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from proofs.evidence import Cell
from proofs.training.bench import Bench, Golden, Place, digest_of, json_lines
from proofs.training.recipes import NUM_STEPS

_MAX_WAIT_SECONDS = 300.0
_HANG_SECONDS = 90.0
_ORPHAN_SECONDS = 60.0
_TOLERANCE = 1e-6
# Which routine for products is faster is timed when a run begins, and noted in it; here two runs are compared.
_TRAIN = {"micro_batch_seqs": 2, "accumulation_steps": 2, "products": "onednn"}


class Group:
    """A launcher with its two ranks."""

    def __init__(self, place: Place, command: list[str], *, environment: dict[str, str] | None = None) -> None:
        number = len(list(place.directory.glob("group-*.txt")))
        self.output = place.directory / f"group-{number}.txt"
        with self.output.open("wb") as file:
            self.process = subprocess.Popen(
                command,
                cwd=place.directory,
                env={**os.environ, **place.environment, **(environment or {})},
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def rank(self, number: int) -> int | None:
        """Return the pid of a rank, if it runs."""
        return self.ranks().get(number)

    def ranks(self) -> dict[int, int]:
        """Return the pids of the ranks that run."""
        return {rank: pid for pid in descendants(self.process.pid) if (rank := rank_of(pid)) is not None}

    def expect(self, code: int) -> str:
        """Wait for the launcher, and fail unless it ends with this code."""
        try:
            found = self.process.wait(_MAX_WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            self.end()
            raise AssertionError(f"it did not end in {_MAX_WAIT_SECONDS:.0f} s: {self.said()[-800:]}") from None
        assert found == code, f"exit code {found}, expected {code}: {self.said()[-800:]}"
        return self.said()

    def said(self) -> str:
        """Return everything that was printed."""
        return self.output.read_text("utf-8", errors="replace")

    def end(self) -> None:
        """End whatever is left of it."""
        for pid in [*descendants(self.process.pid), self.process.pid]:
            send(pid, signal.SIGKILL)
        self.process.wait()


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal; nothing happens if the process is gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def descendants(pid: int) -> list[int]:
    """Return the processes below one."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(folder.name))
    found, waiting = [], [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def rank_of(pid: int) -> int | None:
    """Return the rank a process was started as, or None."""
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return None
    found = [value for value in variables if value.startswith(b"RANK=")]
    return int(found[0][5:]) if found else None


def _launch(place: Place, *words: str, processes: int = 2, restarts: int = 3) -> Group:
    command = [sys.executable, "-m", "banyan", "train", str(place.recipe), "--nproc", str(processes)]
    return Group(place, [*command, "--max-restarts", str(restarts), *words])


def _torchrun(place: Place, fault: str, *words: str, restarts: int = 1) -> Group:
    """Start two ranks by torchrun itself, in which a fault of `rank_faults.py` happens."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--max-restarts", str(restarts)]
    standalone = ["--standalone", "-m", "proofs.training.rank_faults", fault, str(place.directory)]
    own_store = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    return Group(place, [*launcher, *standalone, "train", str(place.recipe), *words], environment=own_store)


_golden: dict[str, Golden] = {}


def golden_of_two(bench: Bench) -> Golden:
    """Return the undisturbed run of two ranks, made once."""
    if "two" not in _golden:
        place = bench.place("golden-two", train=_TRAIN)
        started = time.perf_counter()
        _launch(place).expect(0)
        seconds = time.perf_counter() - started
        _golden["two"] = Golden(run_directory=place.run, seconds=seconds, digest=digest_of(place.run))
    return _golden["two"]


def _wait_for(condition: Callable[[], Any], what: str, *, seconds: float = 120.0) -> float:
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, f"{what} did not happen in {seconds:.0f} s"
        time.sleep(0.02)
    return time.monotonic() - started


def rank_killed(bench: Bench, trial: str) -> str:
    """Kill a random rank after a random step; all ranks start anew, and the run ends as if nothing had been."""
    golden, chance = golden_of_two(bench), random.Random(trial)
    place = bench.place(f"rank-killed-{trial}", train=_TRAIN)
    group, rank, step = _launch(place), chance.randrange(2), chance.randrange(1, NUM_STEPS - 2)
    _wait_for(lambda: place.last_step() >= step or group.process.poll() is not None, f"step {step}")
    pid = group.rank(rank)
    assert pid is not None, f"rank {rank} was gone at step {place.last_step()}: {group.said()[-300:]}"
    send(pid, signal.SIGKILL)
    at = place.last_step()
    group.expect(0)
    _same_as(golden, place)
    begun = len(place.events("started")) + len(place.events("resumed"))
    assert begun == 2, f"it was begun {begun} times"
    place.clear()
    return f"rank {rank} killed at step {at}, started anew"


def _same_as(golden: Golden, place: Place) -> None:
    assert digest_of(place.run) == golden.digest, (
        "the final state differs from that of the undisturbed run of two ranks"
    )


def rank_hangs(bench: Bench, trial: str) -> str:
    """Stop a rank for good (SIGSTOP); it is found, killed, and the run started anew."""
    golden, chance = golden_of_two(bench), random.Random(trial)
    place = bench.place(f"rank-hangs-{trial}", train=_TRAIN)
    group, rank, step = _launch(place), chance.randrange(2), chance.randrange(5, NUM_STEPS - 10)
    _wait_for(lambda: place.last_step() >= step, f"step {step}")
    pid = group.rank(rank)
    assert pid is not None
    send(pid, signal.SIGSTOP)
    try:
        seconds = _wait_for(
            lambda: not Path(f"/proc/{pid}").exists(), "the end of the hung rank", seconds=_HANG_SECONDS
        )
        group.expect(0)
    finally:
        send(pid, signal.SIGCONT)
        if group.process.poll() is None:
            group.end()
    _same_as(golden, place)
    place.clear()
    return f"rank {rank} hung at step {step}, was killed after {seconds:.0f} s, started anew"


def launcher_killed(bench: Bench, trial: str) -> str:
    """Kill the launcher; no rank outlives it, and the run can be resumed."""
    golden = golden_of_two(bench)
    place = bench.place("launcher-killed", train=_TRAIN)
    group = _launch(place)
    _wait_for(lambda: place.last_step() >= 15, "step 15")
    below = descendants(group.process.pid)
    assert len(below) >= 2
    send(group.process.pid, signal.SIGKILL)
    group.process.wait()
    seconds = _wait_for(lambda: not any(_lives(pid) for pid in below), "the end of the ranks", seconds=_ORPHAN_SECONDS)
    _launch(place, "--resume").expect(0)
    _same_as(golden, place)
    place.clear()
    return f"{len(below)} processes were gone after {seconds:.1f} s; resumed"


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def exception_in_one_rank(bench: Bench, trial: str) -> str:
    """Raise in the forward pass of one rank, once; the other one ends too, both start anew."""
    golden = golden_of_two(bench)
    place = bench.place("exception", train=_TRAIN)
    _torchrun(place, "raise").expect(0)
    _same_as(golden, place)
    place.clear()
    return "raised once, started anew, final state equal"


def nan_on_one_rank(bench: Bench, trial: str) -> str:
    """Make the loss of one rank not a number in one step; both ranks skip it and stay equal."""
    place = bench.place("nan-on-one-rank", train={**_TRAIN, "checkpoint_every": 1, "keep_checkpoints": 99, "steps": 20})
    _torchrun(place, "nan").expect(0)
    skipped = [event["step"] for event in place.events("step_skipped")]
    assert skipped == [12], f"skipped: {skipped}"
    for name in ("model.safetensors", "optimizer.safetensors"):
        assert (place.checkpoint(11) / name).read_bytes() == (place.checkpoint(12) / name).read_bytes(), (
            f"{name} changed"
        )
    hashes = [json_lines(place.directory / f"weights-{rank}.jsonl") for rank in range(2)]
    assert len(hashes[0]) == 20 and hashes[0] == hashes[1], "the ranks' weights differ"
    place.clear()
    return "both skipped step 12; their weights are equal after each of 20 steps"


def resized(bench: Bench, trial: str) -> str:
    """Go on with another number of ranks, 1 → 2 → 1; the same samples in the same order, and the same loss."""
    alone, mixed = (
        bench.place(f"resized-{name}", train={**_TRAIN, "checkpoint_every": 20}) for name in ("one", "mixed")
    )
    precise = ("train.precision=float32",)
    alone.train(*precise).expect(0)
    stages: list[Callable[[], Any]] = [
        lambda: mixed.train("train.steps=60", *precise, fault=lambda: _leave_after(mixed, 20)).wait(),
        lambda: _torchrun(mixed, "leave-40", "--resume", *precise).process.wait(),
        lambda: mixed.train("--resume", *precise).expect(0),
    ]
    for stage in stages:
        stage()
    one, two = (json_lines(place.run / "metrics.jsonl") for place in (alone, mixed))
    assert [line["step"] for line in one] == [line["step"] for line in two] == list(range(1, NUM_STEPS + 1))
    worst = max(abs(a["loss"] - b["loss"]) / abs(a["loss"]) for a, b in zip(one, two, strict=True))
    assert worst < _TOLERANCE, f"losses differ by {worst:.1e}"
    starts = [event["step"] for event in mixed.events() if event["event"] in ("started", "resumed")]
    places = [json.loads((p.checkpoint(NUM_STEPS) / "state.json").read_text())["loader"] for p in (alone, mixed)]
    assert places[0] == places[1], "they ended at different places in the data"
    for place in (alone, mixed):
        place.clear()
    return f"begun at steps {starts}; largest relative difference of a loss {worst:.1e}"


def _leave_after(place: Place, step: int) -> None:
    """Let this process ask itself to stop after a step."""
    from banyan.train.stepper import Stepper

    take = Stepper.step

    def last_step(stepper: Any, progress: Any, **options: Any) -> Any:
        taken = take(stepper, progress, **options)
        if progress.step == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return taken

    Stepper.step = last_step  # type: ignore[method-assign, assignment]


CELLS = (
    Cell(
        number="D-14",
        fault="NaN on one of two ranks (gloo), in one step",
        passes_if="both skip, their weights stay equal",
        trials=("once",),
        run=nan_on_one_rank,
    ),
    Cell(
        number="D-17",
        fault="SIGKILL of a random rank of two at a random step (--nproc 2)",
        passes_if="started anew, final state equals the undisturbed run of two ranks",
        trials=tuple(str(number) for number in range(30)),
        run=rank_killed,
    ),
    Cell(
        number="D-18",
        fault="SIGSTOP of a rank",
        passes_if="killed within 90 s, started anew, final state equal",
        trials=tuple(str(number) for number in range(5)),
        run=rank_hangs,
    ),
    Cell(
        number="D-19",
        fault="SIGKILL of the launcher",
        passes_if="no process left after 60 s, resumes, final state equal",
        trials=("once",),
        run=launcher_killed,
    ),
    Cell(
        number="D-20",
        fault="an exception in the forward pass of one rank (torchrun)",
        passes_if="both end, start anew, final state equal",
        trials=("once",),
        run=exception_in_one_rank,
    ),
    Cell(
        number="D-21",
        fault="resumed with another number of ranks, 1 → 2 → 1",
        passes_if="same samples, losses within 1e-6",
        trials=("once",),
        run=resized,
    ),
)
