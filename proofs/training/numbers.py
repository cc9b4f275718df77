"""Numbers that are not numbers, and numbers that must come again: order of the data, dropout."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file

from banyan.core.model_directory import verify_manifest
from proofs.evidence import Cell
from proofs.training.bench import Bench, Place, digest_of, json_lines
from proofs.training.disks import slow_steps

_POISONED_STEP = 17
_POISON = 1e38
_FIRST_BAD_STEP = 45


def _poison_batches(first: int, last: int) -> None:
    """Let the loader of this process give batches whose loss weights are beyond what float32 holds."""
    from banyan.data.loader import MixtureLoader

    draw, count = MixtureLoader.next_batch, [0]

    def next_batch(loader: MixtureLoader, **sizes: Any) -> Any:
        batch = draw(loader, **sizes)
        count[0] += 1
        if first <= count[0] <= last:
            batch.loss_weights.mul_(_POISON)
        return batch

    MixtureLoader.next_batch = next_batch  # type: ignore[method-assign]


def poisoned_once(bench: Bench, trial: str) -> str:
    """Poison one batch; the step is skipped, weights and optimizer stay as they are, and the log names the batch."""
    place = bench.place("poisoned-once", train={"checkpoint_every": 1, "keep_checkpoints": 99, "steps": 30})
    place.train(fault=lambda: _poison_batches(_POISONED_STEP, _POISONED_STEP)).expect(0)
    skipped = place.events("step_skipped")
    assert [event["step"] for event in skipped] == [_POISONED_STEP], f"skipped: {skipped}"
    assert skipped[0]["data"]["places"], "the event does not say which batch it was"
    before, after, later = (place.checkpoint(_POISONED_STEP + shift) for shift in (-1, 0, 1))
    for name in ("model.safetensors", "optimizer.safetensors"):
        same = (before / name).read_bytes() == (after / name).read_bytes()
        assert same, f"{name} has changed"
        assert (after / name).read_bytes() != (later / name).read_bytes(), f"{name} never changes"
    place.clear()
    return f"step {_POISONED_STEP} skipped, both files bitwise unchanged, batch named by its place in the data"


def poisoned_for_good(bench: Bench, trial: str) -> str:
    """Make every loss not a number from some step on; the run ends with exit 7, and what it saved is sound."""
    place = bench.place("poisoned-for-good")

    def not_a_number() -> None:
        from banyan.train import step as module

        judge_step, count = module.train_step, [0]
        from banyan.train import stepper

        def poisoned(model: Any, *args: Any, **options: Any) -> Any:
            count[0] += 1
            loss_function = options["loss_function"]

            def bad_loss(*inputs: Any) -> Any:
                losses = loss_function(*inputs)
                return type(losses)(loss_sums=losses.loss_sums * float("nan"), weight_sums=losses.weight_sums)

            if count[0] >= _FIRST_BAD_STEP:
                options["loss_function"] = bad_loss
            return judge_step(model, *args, **options)

        stepper.train_step = poisoned  # type: ignore[assignment]

    said = place.train(fault=not_a_number).expect(7)
    steps = place.steps()
    for step in steps:
        verify_manifest(place.checkpoint(step))
        for path in place.checkpoint(step).glob("*.safetensors"):
            for name, values in load_file(path).items():
                assert bool((values == values).all()), f"{path.name} {name} of step {step} holds NaN"
    last = int((place.run / "last").resolve().name[5:])
    assert last >= 14, f"the last checkpoint is that of step {last}"
    number = len(place.events("step_skipped"))
    assert 1 <= number <= 10, f"{number} steps were skipped before it gave up"
    place.clear()
    return f"exit 7 after {number} skipped steps; checkpoints {steps} are sound: {said.strip().splitlines()[-2][:80]}"


# ------------------------------------------------------------------------------- what must come again


def _log_batches(path: Path) -> None:
    """Let the loader of this process write down a hash of each batch, and its place in the data."""
    from banyan.data.loader import MixtureLoader

    draw = MixtureLoader.next_batch

    def next_batch(loader: MixtureLoader, **sizes: Any) -> Any:
        place = json.dumps(loader.state()["places"], sort_keys=True)
        batch = draw(loader, **sizes)
        tensors = (batch.token_ids, batch.targets, batch.loss_weights, batch.segment_ids, batch.task_ids)
        digest = sha256(b"".join(tensor.numpy().tobytes() for tensor in tensors)).hexdigest()
        line = json.dumps({"place": place, "digest": digest, "epoch": min(loader.epochs().values())})
        _append(path, line)
        return batch

    MixtureLoader.next_batch = next_batch  # type: ignore[method-assign]


def _append(path: Path, line: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, line.encode() + b"\n")
    os.close(descriptor)


_ORDER = {"micro_batch_seqs": 7, "accumulation_steps": 1, "seq_len": 24, "evaluate_every": 60, "checkpoint_every": 5}
_LOG = "batches.jsonl"


def same_order(bench: Bench, trial: str) -> str:
    """Stop a run several times and compare the hash of every batch with those of a run that was never stopped."""
    whole, stopped = (bench.place(f"order-{name}", train=_ORDER) for name in ("whole", "stopped"))
    expected = _logged_run(whole)
    epochs = max(line["epoch"] for line in expected)
    assert epochs >= 3, f"only {epochs:.1f} epochs were seen"
    chance = random.Random(trial)
    for start in range(8):
        words = ["--resume"] if start else []
        child = stopped.train(*words, fault=lambda: (_log_batches(stopped.directory / _LOG), slow_steps(0.01)))
        if start < 4:
            _wait_until(stopped, at_least=12 * (start + 1) - chance.randrange(8))
            child.kill(signal.SIGTERM if start % 2 else signal.SIGKILL)
        if child.wait() == 0:
            break
    _compare(stopped, expected)
    assert digest_of(stopped.run) == digest_of(whole.run), "the final state differs"
    for place in (whole, stopped):
        place.clear()
    return f"{len(expected)} batches over {epochs:.1f} epochs, all equal"


def stopped_where_an_epoch_ends(bench: Bench, trial: str) -> str:
    """Save and stop right before, at and after the end of an epoch; the batches that follow are the same."""
    whole = bench.place("epoch-whole", train=_ORDER)
    expected = _logged_run(whole)
    ends = [
        number
        for number in range(1, len(expected))
        if int(expected[number]["epoch"]) > int(expected[number - 1]["epoch"])
    ]
    assert len(ends) >= 2, "too few epochs"
    for step in (shift + end for end in ends[:2] for shift in (0, 1, 2)):  # steps count from 1
        stopped = bench.place("epoch-stopped", train=_ORDER)
        stopped.train(f"train.steps={step}", fault=lambda: _log_batches(stopped.directory / _LOG)).expect(0)  # noqa: B023
        assert stopped.steps()[-1] == step
        stopped.train("--resume", fault=lambda: _log_batches(stopped.directory / _LOG)).expect(0)  # noqa: B023
        _compare(stopped, expected)
        stopped.clear()
    whole.clear()
    return f"checkpoints around steps {', '.join(str(end + 1) for end in ends[:2])}, where epochs end"


def _logged_run(place: Place) -> list[dict[str, Any]]:
    place.train(fault=lambda: _log_batches(place.directory / _LOG)).expect(0)
    return json_lines(place.directory / _LOG)


def _compare(place: Place, expected: list[dict[str, Any]]) -> None:
    """Fail unless the processes of a place gave the expected batches, and no others, wherever they were in the data."""
    by_place: dict[str, set[str]] = {}
    for line in json_lines(place.directory / _LOG):
        by_place.setdefault(line["place"], set()).add(line["digest"])
    assert by_place == {line["place"]: {line["digest"]} for line in expected}, "batches differ"


def _wait_until(place: Place, *, at_least: int) -> None:
    deadline = time.monotonic() + 60
    while place.last_step() < at_least:
        assert time.monotonic() < deadline, "the run does not get on"
        time.sleep(0.003)


def _log_masks(path: Path) -> None:
    """Let this process write down a hash of what every dropout drops."""
    from banyan.model import attention, dropout, feed_forward, transformer
    from banyan.train.stepper import Stepper

    drop, take, digest, step_number = dropout.drop, Stepper.step, [sha256()], [0]

    def logged(x: Any, keys: Any, **options: Any) -> Any:
        kept = drop(x, keys, **options)
        digest[0].update((kept == 0).numpy().tobytes())
        return kept

    def step(stepper: Stepper, progress: Any, **options: Any) -> Any:
        digest[0], step_number[0] = sha256(), progress.step + 1
        taken = take(stepper, progress, **options)
        _append(path, json.dumps({"step": step_number[0], "digest": digest[0].hexdigest()}))
        return taken

    for module in (dropout, attention, feed_forward, transformer):
        if getattr(module, "drop", None) is drop:
            module.drop = logged  # type: ignore[attr-defined]
    Stepper.step = step  # type: ignore[method-assign, assignment]


def same_dropout(bench: Bench, trial: str) -> str:
    """Compare what dropout drops, step by step, with a run that was never stopped."""
    golden = bench.golden("joint")
    whole, stopped = (bench.place(f"dropout-{name}", kind="joint") for name in ("whole", "stopped"))
    log = "masks.jsonl"
    whole.train(fault=lambda: _log_masks(whole.directory / log)).expect(0)
    expected = {line["step"]: line["digest"] for line in json_lines(whole.directory / log)}
    assert len(set(expected.values())) == len(expected), "steps share their masks, or nothing is dropped"
    child = stopped.train(fault=lambda: (_log_masks(stopped.directory / log), slow_steps(0.01)))
    _wait_until(stopped, at_least=31)
    child.kill()
    child.wait()
    stopped.train("--resume", fault=lambda: _log_masks(stopped.directory / log)).expect(0)
    seen = json_lines(stopped.directory / log)
    assert len(seen) > len(expected), "no step was done twice"
    assert all(expected[line["step"]] == line["digest"] for line in seen), "masks differ after the resume"
    assert digest_of(stopped.run) == golden.digest, "the final state differs"
    for place in (whole, stopped):
        place.clear()
    return f"the masks of {len(seen)} steps, {len(seen) - len(expected)} of them done twice, are equal"


CELLS = (
    Cell(
        number="D-12",
        fault="one batch whose loss weights are × 1e38",
        passes_if="step skipped, weights and optimizer bitwise unchanged, the batch named in the log",
        trials=("once",),
        quick=("once",),
        run=poisoned_once,
    ),
    Cell(
        number="D-13",
        fault="every loss NaN from step 45 on",
        passes_if="exit 7 after at most 10 skipped steps, checkpoints kept, no NaN in any saved tensor",
        trials=("once",),
        quick=("once",),
        run=poisoned_for_good,
    ),
    Cell(
        number="D-22",
        fault="a run over 3 epochs stopped four times (SIGKILL, SIGTERM), or saved exactly where an epoch ends",
        passes_if="the hash of every batch equals that of the uninterrupted run",
        trials=("stopped four times", "stopped where an epoch ends"),
        run=lambda bench, trial: (same_order if "four" in trial else stopped_where_an_epoch_ends)(bench, trial),
    ),
    Cell(
        number="D-23",
        fault="a run with dropout, killed and resumed",
        passes_if="a hash of what each step drops is equal",
        trials=("once",),
        run=same_dropout,
    ),
)
