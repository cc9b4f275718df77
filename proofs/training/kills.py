"""Processes that end without warning: at any moment, inside a save, inside a purge; or that are asked to leave."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from banyan.core.model_directory import verify_manifest
from proofs.evidence import Cell, first_word
from proofs.training.bench import Bench, Place, digest_of
from proofs.training.processes import Child
from proofs.training.recipes import KINDS, NUM_STEPS

_MAX_STARTS = 12
_NUM_KILLS = 200
_FIRST_KINDS = KINDS[:2]  # of these half of the kills; of the others the other half
_NUM_REQUESTS = 50
_MAX_SECONDS_TO_SAVE = 20.0
Event = Callable[[str, tuple[Any, ...]], bool]  # (name of an audit event, its arguments) → is it the one?


def killed_at_any_moment(bench: Bench, trial: str) -> str:
    """Kill the run at a random time, go on, perhaps kill it again, until it is done."""
    kind, _, number = trial.partition(" ")
    golden = bench.golden(kind)
    chance = random.Random(trial)
    place = bench.place(f"killed-{kind}-{number}", kind=kind)
    moment = chance.uniform(0, golden.seconds)
    child = _killed_at(place, moment)
    while child.code == 0:  # the machine was faster than when the golden run was timed
        place = bench.place(f"killed-{kind}-{number}", kind=kind)
        moment *= 0.7
        child = _killed_at(place, moment)
    kills = [place.last_step()]
    for start in range(_MAX_STARTS):
        again = chance.random() < 0.3 and start < _MAX_STARTS // 2
        child = _killed_at(place, chance.uniform(0, golden.seconds) if again else None, "--resume")
        if child.code == 0:
            break
        assert child.code == -signal.SIGKILL, child.said()
        kills.append(place.last_step())
    assert digest_of(place.run) == golden.digest, "the final state differs from that of the undisturbed run"
    place.clear()
    return f"killed after step {', '.join(map(str, kills))}"


def _killed_at(place: Place, moment: float | None, *words: str) -> Child:
    """Start the run, kill it after so many seconds (None: not), and return it when it has ended."""
    child = place.train(*words)
    if moment is not None:
        time.sleep(moment)
        child.kill()
    child.wait()
    return child


# ------------------------------------------------------------------------------- inside a save or a purge


def _writes(name: str, step: int) -> Event:
    def is_it(event: str, args: tuple[Any, ...]) -> bool:
        opened_to_write = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
        return bool(opened_to_write) and f"step-{step:08d}.tmp-" in str(args[0]) and name in str(args[0])

    return is_it


def _makes(event_name: str, *parts: str, nth: int = 1) -> Event:
    left = nth

    def is_it(event: str, args: tuple[Any, ...]) -> bool:
        nonlocal left
        if event == event_name and all(part in " ".join(map(str, args)) for part in parts):
            left -= 1
        return left == 0 and event == event_name

    return is_it


def _flushes(name: str, step: int) -> Event:
    return lambda event, args: event == "fsync" and f"step-{step:08d}.tmp-" in args[0] and args[0].endswith(name)


_SAVED_AT = (7, 14, 21, 28, 35)
_OTHER_SAVES = ("lora", "image_tokenizer")  # whose checkpoints hold other files
# The weights are the first safetensors file that is written, and the first that is flushed, whatever its name.
SAVE_PHASES: dict[str, Callable[[int], Event]] = {
    "before the folder": lambda step: _makes("os.mkdir", f"step-{step:08d}.tmp-"),
    "before the weights": lambda step: _writes(".safetensors", step),
    "weights not flushed": lambda step: _flushes(".safetensors", step),
    "before the optimizer": lambda step: _writes("optimizer.safetensors", step),
    "before the state": lambda step: _writes("state.json", step),
    "before the manifest": lambda step: _writes("manifest.json", step),
    "before the last flush": lambda step: _flushes("optimizer.safetensors", step),
    "before the rename": lambda step: _makes("os.rename", f"step-{step:08d}.tmp-", f"/step-{step:08d} "),
    "before the link": lambda step: _makes("os.symlink", f"step-{step:08d}"),
}
PURGE_PHASES: dict[str, Callable[[int], Event]] = {
    "before it is hidden": lambda step: _makes("os.rename", f"step-{step:08d}.purged"),
    "before it is removed": lambda step: _makes("shutil.rmtree", f"step-{step:08d}.purged", nth=2),
    "half removed": lambda step: _makes("os.remove", ".safetensors"),
}


def pause_before(is_it: Event) -> None:
    """Let this process stop itself right before a system call; what it does there is seen by Python's audit hooks."""
    is_armed = True

    def hook(event: str, args: tuple[Any, ...]) -> None:
        nonlocal is_armed
        if is_armed and is_it(event, (*map(str, args[:2]), *args[2:], "")):
            is_armed = False
            # To this very thread, which then does nothing more, whichever thread it is.
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)

    fsync = os.fsync

    def seen_fsync(descriptor: int) -> None:  # the one call of a save that raises no audit event
        hook("fsync", (os.readlink(f"/proc/self/fd/{descriptor}"),))
        fsync(descriptor)

    os.fsync = seen_fsync  # type: ignore[assignment]
    sys.addaudithook(hook)


def _kill_where_it_pauses(place: Place, is_it: Event) -> None:
    child = place.train(fault=lambda: pause_before(is_it))
    stopped = os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    assert stopped is not None and stopped.si_code == os.CLD_STOPPED, f"it never came there: {child.said()}"
    child.kill()
    child.wait()


def killed_inside_a_save(bench: Bench, trial: str) -> str:
    """Kill the run at one phase of one save; it must go on from the newest complete checkpoint."""
    kind = _kind_of_save(trial)
    phase, _, step_word = trial.removeprefix(f"{kind}: ").rpartition(" at step ")
    golden, step = bench.golden(kind), int(step_word)
    place = bench.place(f"save-{kind}-{phase}-{step}".replace(" ", "-"), kind=kind)
    _kill_where_it_pauses(place, SAVE_PHASES[phase](step))
    is_complete = phase == "before the link"
    complete = [saved for saved in place.steps() if saved <= step]
    newest = step if is_complete else max((s for s in complete if s < step), default=0)
    assert max(complete, default=0) == newest, f"step {max(complete, default=0)} is there, expected {newest}"
    place.train("--resume").expect(0)
    begun = place.events("resumed" if newest else "started")[-1]["step"]
    assert begun == newest, f"it went on from step {begun}, not {newest}"
    assert digest_of(place.run) == golden.digest, "the final state differs from that of the undisturbed run"
    assert not list((place.run / "checkpoints").glob("*.tmp-*")), "a half-written checkpoint was left behind"
    place.clear()
    return f"went on from step {newest}"


def killed_inside_a_purge(bench: Bench, trial: str) -> str:
    """Kill the run while it removes an old checkpoint; a valid one is always there."""
    golden = bench.golden("pretraining")
    place = bench.place(f"purge-{trial}".replace(" ", "-"))
    _kill_where_it_pauses(place, PURGE_PHASES[trial](7))
    kept = place.steps()
    for step in kept:
        verify_manifest(place.checkpoint(step))
    assert len(kept) >= 2, f"only {kept} are left"
    place.train("--resume").expect(0)
    assert digest_of(place.run) == golden.digest, "the final state differs from that of the undisturbed run"
    assert not list((place.run / "checkpoints").glob("*.purged")), "a half-removed checkpoint was left behind"
    place.clear()
    return f"{len(kept)} valid checkpoints were there"


# ------------------------------------------------------------------------------- SIGTERM, and what a kill leaves


def asked_to_leave(bench: Bench, trial: str) -> str:
    """Send SIGTERM at a random time; the run saves the step it is at, says 143, and loses nothing."""
    golden = bench.golden("pretraining")
    place = bench.place(f"sigterm-{trial}")
    child = place.train()
    _wait_for_first_step(place)
    time.sleep(random.Random(trial).uniform(0, golden.seconds * 0.7))
    asked = time.perf_counter()
    child.kill(signal.SIGTERM)
    if child.wait() == 0:
        return "ended before the signal"
    seconds = time.perf_counter() - asked
    assert child.code == 128 + signal.SIGTERM, f"exit code {child.code}: {child.said()[-300:]}"
    assert seconds < _MAX_SECONDS_TO_SAVE, f"it took {seconds:.1f} s"
    done, saved = place.last_step(), place.steps()[-1]
    assert done == saved, f"{done} steps were done, {saved} saved"
    place.train("--resume").expect(0)
    assert digest_of(place.run) == golden.digest, "the final state differs from that of the undisturbed run"
    place.clear()
    return f"left after step {done} of {NUM_STEPS} in {seconds:.1f} s"


def left_a_lock(bench: Bench, trial: str) -> str:
    """Kill the run, start it again: the system has freed the lock."""
    place = bench.place("stale-lock")
    child = place.train()
    _wait_for_first_step(place)
    child.kill()
    child.wait()
    lock = (place.run / ".lock").read_text().strip()
    assert lock == str(child.pid), f"the lock names {lock}, the process was {child.pid}"
    place.train("--resume").expect(0)
    place.clear()
    return f"the lock of the killed process {lock} was no hindrance"


def started_twice(bench: Bench, trial: str) -> str:
    """Start a second trainer on the same run: it is turned away, and the first one does not notice."""
    golden = bench.golden("pretraining")
    place = bench.place("twice")
    first = place.train()
    _wait_for_first_step(place)
    first.kill(signal.SIGSTOP)  # so that it is surely still there
    before = {path.name: path.read_bytes() for path in place.run.glob("*.yaml")}
    for words in ([], ["--resume"]):
        place.train(*words).expect(8, f"is locked by pid {first.pid}")
    assert before == {path.name: path.read_bytes() for path in place.run.glob("*.yaml")}, "it wrote into the run"
    first.kill(signal.SIGCONT)
    first.expect(0)
    assert digest_of(place.run) == golden.digest, "the final state differs from that of the undisturbed run"
    place.clear()
    return f"turned away twice: locked by pid {first.pid}"


def _wait_for_first_step(place: Place) -> None:
    deadline = time.monotonic() + 120
    while not place.last_step():
        assert time.monotonic() < deadline, "the run never began"
        time.sleep(0.005)


def _kind_of_save(trial: str) -> str:
    kind, colon, _ = trial.partition(": ")
    return kind if colon else "pretraining"


def _kill(number: int) -> str:
    kinds = _FIRST_KINDS if number < _NUM_KILLS // 2 else KINDS[len(_FIRST_KINDS) :]
    return f"{kinds[number % len(kinds)]} {number}"


_SAVES = tuple(f"{phase} at step {step}" for phase in SAVE_PHASES for step in _SAVED_AT)
_SAVES_OF_OTHERS = tuple(f"{kind}: {phase} at step 14" for phase in SAVE_PHASES for kind in _OTHER_SAVES)
_KILLS = tuple(map(_kill, range(_NUM_KILLS)))
CELLS = (
    Cell(
        number="D-01",
        fault="SIGKILL at a uniformly random time of a 60-step run, and often again while it goes on",
        passes_if="weights, optimizer, progress and every loss equal the undisturbed run, bit for bit",
        trials=_KILLS,
        quick=(*_KILLS[:6], *(trial for trial in _KILLS[100:108] if first_word(trial) in _OTHER_SAVES)),
        run=killed_at_any_moment,
        kind_of=first_word,
    ),
    Cell(
        number="D-02",
        fault="SIGKILL at each of 9 phases of a save, 5 saves, and one of those whose checkpoints hold other files",
        passes_if="goes on from the right step; final state equal, bit for bit",
        trials=(*_SAVES, *_SAVES_OF_OTHERS),
        quick=_SAVES[2::5],
        run=killed_inside_a_save,
        kind_of=_kind_of_save,
    ),
    Cell(
        number="D-03",
        fault="SIGKILL at 3 phases of removing an old checkpoint",
        passes_if="valid checkpoints are always there; final state equal",
        trials=tuple(PURGE_PHASES),
        run=killed_inside_a_purge,
    ),
    Cell(
        number="D-24",
        fault="SIGTERM at a random time",
        passes_if="exit 143 within 20 s, no step lost, final state equal",
        trials=tuple(str(number) for number in range(_NUM_REQUESTS)),
        run=asked_to_leave,
    ),
    Cell(
        number="D-25",
        fault="a second trainer on the same run directory",
        passes_if="exit 8 naming the pid; the first run is not disturbed",
        trials=("start and resume",),
        quick=("start and resume",),
        run=started_twice,
    ),
    Cell(
        number="D-26",
        fault="SIGKILL, then start again",
        passes_if="the lock was freed by the system",
        trials=("once",),
        run=left_a_lock,
    ),
)
