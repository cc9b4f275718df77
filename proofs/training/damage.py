"""Checkpoints that are not as they were written: cut short, flipped, mixed up, or made by somebody who means harm."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from banyan.core.errors import BanyanError, CheckpointError
from banyan.core.model_directory import MANIFEST, verify_manifest
from proofs.evidence import Cell
from proofs.training.bench import Bench, Place, digest_of
from proofs.training.hostile import hostile_directory
from proofs.training.processes import run_here
from proofs.training.recipes import NUM_STEPS

_FILES = (
    "model.safetensors",
    "optimizer.safetensors",
    "state.json",
    "manifest.json",
    "model.json",
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "banyan.json",
    "recipe.yaml",
)
_CUTS = {"0 %": 0.0, "1 %": 0.01, "50 %": 0.5, "99 %": 0.99, "all but a byte": 1.0}
_NUM_FLIPS = 500
_HOSTILE_BLOCKS = 40
_HOSTILE_IN_A_BLOCK = 250
_MAX_GROWTH_BYTES = 200e6
_FORBIDDEN_EVENTS = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "subprocess.Popen",
    "socket.",
    "pty.spawn",
    "ctypes.dlopen",
)


def _finished_run(bench: Bench, name: str) -> Place:
    """Return a copy of the undisturbed run, for somebody to damage."""
    golden = bench.golden("pretraining")
    place = bench.place(name)
    shutil.copytree(golden.run_directory, place.run, symlinks=True)
    return place


def _goes_on(bench: Bench, place: Place, *words: str) -> None:
    """Resume, and fail unless the newest checkpoint was set aside, once, for a reason with these words."""
    golden = bench.golden("pretraining")
    before = place.steps()[-2]
    place.train("--resume").expect(0)
    (warning,) = place.events("checkpoint_quarantined")
    for word in words:
        assert word in warning["reason"], f"{word!r} is not in {warning['reason']!r}"
    assert place.events("resumed")[-1]["step"] == before, "it did not go on from the checkpoint before"
    assert digest_of(place.run) == golden.digest, "the final state differs from that of the undisturbed run"


def cut_short(bench: Bench, trial: str) -> str:
    """Cut a file of the newest checkpoint short; the run goes on from the one before."""
    name, _, amount = trial.partition(" at ")
    place = _finished_run(bench, f"cut-{name}-{amount}".replace(" ", "-").replace("%", "percent"))
    path = place.checkpoint(NUM_STEPS) / name
    size = len(path.read_bytes().rstrip(b"\n"))  # without the end of its last line, a JSON file says all it did
    with path.open("r+b") as file:
        file.truncate(min(size - 1, int(size * _CUTS[amount])))
    _goes_on(bench, place)
    reason = place.events("checkpoint_quarantined")[0]["reason"]
    place.clear()
    return reason.split(f"{NUM_STEPS:08d}")[-1].strip("/")


def flipped(bench: Bench, trial: str) -> str:
    """Flip single bits anywhere in a checkpoint; each is noticed."""
    place = _finished_run(bench, "flipped")
    checkpoint, chance = place.checkpoint(NUM_STEPS), random.Random(trial)
    files = sorted(path for path in checkpoint.iterdir())
    sizes = [path.stat().st_size for path in files]
    undetected = []
    for number in range(_NUM_FLIPS):
        # Half of them anywhere, by size; half of them in a file drawn first, so that small files get their share.
        path = chance.choices(files, sizes)[0] if number % 2 else chance.choice(files)
        place_in_file, bit = chance.randrange(path.stat().st_size), 1 << chance.randrange(8)
        _flip(path, place_in_file, bit)
        try:
            verify_manifest(checkpoint)
            undetected.append(f"{path.name} byte {place_in_file} bit {bit}")
        except CheckpointError:
            pass
        _flip(path, place_in_file, bit)
    verify_manifest(checkpoint)
    assert not undetected, f"not noticed: {undetected}"
    place.clear()
    return f"{_NUM_FLIPS} of {_NUM_FLIPS} noticed"


def _flip(path: Path, offset: int, bit: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ bit]))


def _swap(first: Path, second: Path) -> None:
    first.rename(first.with_suffix(".swap"))
    second.rename(first)
    first.with_suffix(".swap").rename(second)


MIX_UPS: dict[str, tuple[Callable[[Path, Path], Any], str]] = {
    "missing manifest": (lambda new, old: (new / MANIFEST).unlink(), "has no manifest.json"),
    "extra file": (lambda new, old: (new / "more.bin").write_bytes(b"x"), "is not in the manifest"),
    "missing file": (lambda new, old: (new / "model.safetensors").unlink(), "is missing"),
    "swapped files": (
        lambda new, old: _swap(new / "model.safetensors", new / "optimizer.safetensors"),
        "manifest says",
    ),
    "file of another step": (
        lambda new, old: shutil.copy(old / "model.safetensors", new / "model.safetensors"),
        "sha256 mismatch",
    ),
    "stale manifest": (lambda new, old: shutil.copy(old / MANIFEST, new / MANIFEST), "manifest"),
}


def mixed_up(bench: Bench, trial: str) -> str:
    """Remove, add, swap or replace files of the newest checkpoint; it is refused for the right reason."""
    place = _finished_run(bench, f"mixed-{trial}".replace(" ", "-"))
    old, new = (place.checkpoint(step) for step in place.steps()[-2:])
    harm, reason = MIX_UPS[trial]
    harm(new, old)
    _goes_on(bench, place, reason)
    place.clear()
    return f"set aside: {reason}"


def all_bad(bench: Bench, trial: str) -> str:
    """Damage every checkpoint; the run refuses, names each, and does not begin anew, however often it is asked."""
    place = _finished_run(bench, "all-bad")
    steps = place.steps()
    for step in steps:
        _flip(place.checkpoint(step) / "model.safetensors", 5000, 1)
    for _ in range(2):
        said = place.train("--resume").expect(4, "none of the checkpoints", "sha256 mismatch")
        assert all(f"step-{step:08d}.corrupt" in said for step in steps), f"not all of {steps} are named: {said}"
    place.clear()
    return f"exit 4, all {len(steps)} named, twice"


def made_by_an_enemy(bench: Bench, trial: str) -> str:
    """Open hundreds of directories made to run code, to fill the memory, or to read what lies elsewhere."""
    place = _finished_run(bench, f"hostile-{trial}")
    block = int(trial.split()[-1])
    run_here(place.directory, lambda: _open_hostile(place, block)).expect(0)
    counts = json.loads((place.directory / "counts.json").read_text())
    place.clear()
    return ", ".join(f"{count} {outcome}" for outcome, count in counts.items())


def _open_hostile(place: Place, block: int) -> None:
    from banyan.runtime.loading import load
    from banyan.train.state import TransformerFiles, read_state

    good = place.checkpoint(NUM_STEPS)
    load(good).close()
    seen: list[str] = []
    is_armed = [True]
    sys.addaudithook(
        lambda event, args: seen.append(event) if is_armed[0] and event.startswith(_FORBIDDEN_EVENTS) else None
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    counts = {"refused": 0, "harmless": 0}
    for number in range(block * _HOSTILE_IN_A_BLOCK, (block + 1) * _HOSTILE_IN_A_BLOCK):
        directory = place.directory / "hostile"
        shutil.rmtree(directory, ignore_errors=True)
        name = hostile_directory(good, directory, number)
        try:
            load(directory).close()
            read_state(directory / "state.json")
            TransformerFiles()
            counts["harmless"] += 1
        except BanyanError as error:
            assert error.exit_code == 4, f"{number} {name}: exit code {error.exit_code}: {error}"
            counts["refused"] += 1
        except BaseException as error:
            raise AssertionError(f"{number} {name}: {type(error).__name__}: {error}") from error
        growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
        assert growth < _MAX_GROWTH_BYTES, f"{number} {name}: memory grew by {growth / 1e6:.0f} MB"
        assert not seen, f"{number} {name}: {seen}"
        assert not os.path.exists("/tmp/banyan-was-here"), f"{number} {name}: code has run"
    is_armed[0] = False
    (place.directory / "counts.json").write_text(json.dumps(counts))


_ALL_CUTS = tuple(f"{name} at {amount}" for name in _FILES for amount in _CUTS)
CELLS = (
    Cell(
        number="D-07",
        fault="each file of the newest checkpoint cut short, at 0 %, 1 %, 50 %, 99 % and by one byte",
        passes_if="one warning, goes on from the checkpoint before, final state equal",
        trials=_ALL_CUTS,
        quick=_ALL_CUTS[2:20:7],
        run=cut_short,
    ),
    Cell(
        number="D-08",
        fault="500 single bits flipped, anywhere in a checkpoint",
        passes_if="all are noticed",
        trials=("500 flips",),
        quick=("500 flips",),
        run=flipped,
    ),
    Cell(
        number="D-09",
        fault="a manifest or file missing, a file too many, files swapped or from another step",
        passes_if="set aside with the reason named, goes on from the one before",
        trials=tuple(MIX_UPS),
        quick=tuple(MIX_UPS)[:2],
        run=mixed_up,
    ),
    Cell(
        number="D-10",
        fault=f"{_HOSTILE_BLOCKS * _HOSTILE_IN_A_BLOCK:,} hostile model directories with manifests that fit: pickles, "
        "headers of 2^60 bytes, overlapping tensors, paths outside, links, pipes, 10 GB sparse files, bottomless JSON",
        passes_if="no code runs, no process, socket or library is opened, memory grows < 200 MB, exit code 4",
        trials=tuple(f"block {number}" for number in range(_HOSTILE_BLOCKS)),
        quick=("block 0",),
        run=made_by_an_enemy,
    ),
    Cell(
        number="D-11",
        fault="every checkpoint damaged",
        passes_if="exit 4 with each one and its reason; never begins anew",
        trials=("all",),
        quick=("all",),
        run=all_bad,
    ),
)
