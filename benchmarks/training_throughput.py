"""Training speed and memory beside the peers', on three shapes of GPT-2, taking turns so that machine drift cancels.

    python benchmarks/training_throughput.py [--quick] [--shapes tiny small 124M] [--contenders …]
        [--nanogpt CHECKOUT] [--litgpt-python PYTHON] [--busy-neighbour] [--breakdown]
    python benchmarks/training_throughput.py --device cuda [--quick] [--micro-batch 16] [--nanogpt CHECKOUT]

On a GPU there is one shape, GPT-2 124M at 1,024 tokens, 64 rows a step, and every contender is compiled, in bfloat16.
Every contender is a process of its own that stays alive and waits while another one takes its turn. The last line is
one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "peers"))

import torch  # noqa: E402
from gemm_peak import gemm_peak  # noqa: E402
from gpu import DEVICES, gpu_peak, require_device  # noqa: E402
from turns import SHAPES, SHAPES_ON, Shape, with_micro_batches  # noqa: E402

MIB = 2**20
MICRO_BATCHES = (1, 2, 4, 8, 16, 32, 64)  # rows; a step has 64
MFU_GOAL = 0.45  # of GPT-2 124M at 1,024 tokens on one H200
ANCHORS = {"cpu": "reference-eager", "cuda": "reference-bfloat16"}  # in every group, so that groups can be compared
GROUP_SIZE = {"tiny": 12, "small": 12, "124M": 4, "124M-1024": 12}  # processes alive at a time: memory
STEPS = {"tiny": 20, "small": 2, "124M": 1, "124M-1024": 10}  # in one turn
ROUNDS = {"tiny": 6, "small": 4, "124M": 3, "124M-1024": 6}
QUICK_ROUNDS = {"tiny": 3, "small": 2, "124M": 2, "124M-1024": 3}


@dataclass(kw_only=True)
class Contender:
    """One way to train, and what has been measured of it."""

    name: str
    script: str
    mode: str
    python: str = sys.executable
    checkout: str | None = None
    device: str = "cpu"
    micro_batch: int | None = None
    seconds: list[float] = field(default_factory=list)
    anchor_ratio: float = 1.0  # tokens/s over the anchor's in the same group
    peak_bytes: int = 0
    ready_seconds: float = 0.0

    @property
    def is_ours(self) -> bool:
        return self.name.startswith("banyan")

    @property
    def is_anchor(self) -> bool:
        return self.name == ANCHORS[self.device]


def contenders(options: argparse.Namespace) -> list[Contender]:
    rows = contenders_on_gpu(options) if options.device == "cuda" else contenders_on_cpu(options)
    return [row for row in rows if not options.contenders or row.name in options.contenders or row.is_anchor]


def contenders_on_gpu(options: argparse.Namespace) -> list[Contender]:
    """Return those whose blocks or models are compiled and whose products are in bfloat16."""
    scripts = {"reference": "peers/gpt2_loop.py", "transformers": "peers/transformers_loop.py"}
    if options.nanogpt:
        scripts["nanogpt"] = "peers/nanogpt_loop.py"
    settings = {"mode": "bfloat16", "device": "cuda", "checkout": options.nanogpt, "micro_batch": options.micro_batch}
    scripts["banyan"] = "banyan_loop.py"
    return [Contender(name=f"{name}-bfloat16", script=script, **settings) for name, script in scripts.items()]


def contenders_on_cpu(options: argparse.Namespace) -> list[Contender]:
    rows = [
        Contender(name=f"{peer}-{mode}", script=f"peers/{script}.py", mode=mode)
        for peer, script, modes in (
            ("reference", "gpt2_loop", ("eager", "compiled")),
            ("transformers", "transformers_loop", ("eager", "compiled", "trainer")),
        )
        for mode in modes
    ]
    if options.nanogpt:
        rows += [
            Contender(name=f"nanogpt-{mode}", script="peers/nanogpt_loop.py", mode=mode, checkout=options.nanogpt)
            for mode in ("eager", "compiled")
        ]
    if options.litgpt_python:
        rows.append(
            Contender(name="litgpt-eager", script="peers/litgpt_loop.py", mode="eager", python=options.litgpt_python)
        )
    modes = ("eager", "compiled", "lean", "lean-eager", "lean-muon", "bfloat16", "int8")
    return rows + [Contender(name=f"banyan-{mode}", script="banyan_loop.py", mode=mode) for mode in modes]


class Child:
    """A contender's process."""

    def __init__(self, contender: Contender, shape: str, *more_words: str) -> None:
        self.contender = contender
        self._started = time.perf_counter()
        words = [
            contender.python,
            str(HERE / contender.script),
            "--shape",
            shape,
            "--mode",
            contender.mode,
            *more_words,
        ]
        words += ["--checkout", contender.checkout] if contender.checkout else []
        words += ["--device", contender.device] if contender.device != "cpu" else []
        words += ["--micro-batch", str(contender.micro_batch)] if contender.micro_batch else []
        errors = subprocess.DEVNULL if contender.device == "cpu" else None  # memory that is too small is no riddle
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True)

    def ready(self) -> bool:
        """Wait until its step is warm; False if it cannot run here."""
        answer = self._answer()
        self.contender.ready_seconds = time.perf_counter() - self._started
        return bool(answer)

    def ask(self, num_steps: int) -> dict[str, Any]:
        assert self._process.stdin
        self._process.stdin.write(f"{num_steps}\n")
        self._process.stdin.flush()
        return self._answer()

    def turn(self, num_steps: int) -> list[float]:
        answer = self.ask(num_steps)
        self.contender.peak_bytes = answer["peak_bytes"]
        return list(answer["seconds"])

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(timeout=60)

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout
        for line in self._process.stdout:
            if line.startswith("{"):
                return dict(json.loads(line))
        return {}


def measure(rows: Sequence[Contender], shape: str, *, rounds: int) -> list[Contender]:
    """Measure all contenders on one shape, in groups that fit into memory; return those that run here."""
    anchor = next(row for row in rows if row.is_anchor)
    others = [row for row in rows if row is not anchor]
    size = GROUP_SIZE[shape] - 1
    groups = [others[start : start + size] for start in range(0, len(others), size)] or [[]]
    measured = [row for group in groups for row in measure_group([anchor, *group], shape, rounds=rounds)]
    return [anchor, *(row for row in measured if row is not anchor)]


def measure_group(group: Sequence[Contender], shape: str, *, rounds: int) -> list[Contender]:
    with ExitStack() as stack:
        children = []
        for row in group:  # one after the other: they compile
            child = Child(row, shape)
            stack.callback(child.close)
            if child.ready():
                children.append(child)
            else:
                print(f"{row.name}: does not run here")
                if row.is_anchor:
                    raise SystemExit("without it nothing can be compared")
        seconds: dict[str, list[float]] = {child.contender.name: [] for child in children}
        for _ in range(rounds):
            for child in children:
                seconds[child.contender.name].append(statistics.median(child.turn(STEPS[shape])))
    for child in children:
        row = child.contender
        own = seconds[row.name]
        row.seconds += own
        pairs = zip(seconds[ANCHORS[row.device]], own, strict=True)
        row.anchor_ratio = statistics.median(theirs / ours for theirs, ours in pairs)  # within a round: drift cancels
    return [child.contender for child in children]


def report(rows: Sequence[Contender], name: str, *, shape: Shape, peak: float) -> list[dict[str, Any]]:
    """Print the table of one shape and return its figures."""
    peers = [row for row in rows if not row.is_ours]
    fastest = max(peers, key=lambda row: row.anchor_ratio)
    leanest = min(peers, key=lambda row: row.peak_bytes)
    print(f"\n{name}: {shape}")
    print(f"{'contender':<24} {'tokens/s':>9} {'GFLOP/s':>8} {'MFU':>6} {'x peer':>7} {'peak MiB':>9} {'start s':>8}")
    figures = []
    for row in rows:
        step = statistics.median(row.seconds)
        flops = shape.step_flops / step
        share = mfu(shape, step_seconds=step, peak=peak)
        ratio = row.anchor_ratio / fastest.anchor_ratio
        print(
            f"{row.name:<24} {shape.batch_tokens / step:>9.0f} {flops / 1e9:>8.0f} {share:>6.0%} {ratio:>7.2f} "
            f"{row.peak_bytes / MIB:>9.0f} {row.ready_seconds:>8.1f}"
        )
        if row.is_ours or row.name.startswith("reference"):
            figures.append(
                figure(f"{name}/{row.name}/speed", shape.batch_tokens / step, "tokens/s", ratio, fastest.name)
            )
        if row.device == "cuda":
            figures.append(
                figure(f"{name}/{row.name}/mfu", 100 * share, "%", share / MFU_GOAL, f"goal of {MFU_GOAL:.0%}")
            )
        if row.is_ours:
            memory = leanest.peak_bytes / max(1, row.peak_bytes)
            figures.append(figure(f"{name}/{row.name}/memory", row.peak_bytes / MIB, "MiB", memory, leanest.name))
    return figures


def mfu(shape: Shape, *, step_seconds: float, peak: float) -> float:
    """Return the share of a device's peak, in FLOP/s, that a step of a shape makes use of."""
    return shape.step_flops / step_seconds / peak


def figure(name: str, value: float, unit: str, ratio: float, against: str) -> dict[str, Any]:
    return {
        "name": f"training/{name}",
        "value": round(value, 2),
        "unit": unit,
        "ratio": round(ratio, 3),
        "against": against,
    }


@contextmanager
def busy_core() -> Iterator[None]:
    """Keep one core busy with something else."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(0.2)
        yield
    finally:
        process.kill()
        process.wait()


def measure_neighbour(rows: Sequence[Contender], *, num_turns: int = 3) -> list[dict[str, Any]]:
    """Return how much a tiny step slows while another process keeps one core busy."""
    figures = []
    for row in rows:
        child = Child(row, "tiny")
        if not child.ready():
            continue
        alone, beside = [], []
        for _ in range(num_turns):
            alone += child.turn(10)
            with busy_core():
                beside += child.turn(10)
        child.close()
        slowdown = statistics.median(beside) / statistics.median(alone)
        print(f"{row.name:<24} slows {slowdown:.2f} x beside a busy core")
        figures.append(figure(f"busy-neighbour/{row.name}", slowdown, "x", 2.5 / slowdown, "goal of 2.5 x"))
    return figures


def print_breakdowns(rows: Sequence[Contender], shape: str) -> None:
    """Print where a step's time goes for the contenders that can tell."""
    for row in rows:
        if row.name not in ("reference-eager", "banyan-eager", "banyan-compiled", "banyan-bfloat16"):
            continue
        child = Child(row, shape, "--breakdown")
        if child.ready():
            shares = child.ask(STEPS[shape])["shares"]
            print(f"{shape} {row.name}: " + ", ".join(f"{kind} {share:.0%}" for kind, share in shares.items()))
        child.close()


def read_options(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds: at most 10 minutes")
    parser.add_argument("--device", choices=DEVICES, default="cpu")
    parser.add_argument("--shapes", nargs="+", choices=list(SHAPES), help="of the device; all by default")
    parser.add_argument(
        "--micro-batch", type=int, choices=MICRO_BATCHES, help="on a GPU: rows of one pass, 16 by default"
    )
    parser.add_argument("--contenders", nargs="+", help="only these, and the anchor")
    parser.add_argument("--nanogpt", help="path of a nanoGPT checkout")
    parser.add_argument("--litgpt-python", help="Python of an environment with litgpt")
    parser.add_argument("--busy-neighbour", action="store_true", help="how a tiny step bears a busy core, and no more")
    parser.add_argument("--breakdown", action="store_true", help="where a step's time goes, and no more")
    options = parser.parse_args(words)
    options.shapes = options.shapes or list(SHAPES_ON[options.device])
    if others := set(options.shapes) - set(SHAPES_ON[options.device]):
        parser.error(f"--shapes {' '.join(sorted(others))}: --device {options.device} has {SHAPES_ON[options.device]}")
    if options.device == "cuda" and (options.busy_neighbour or options.breakdown or options.litgpt_python):
        parser.error("--busy-neighbour, --breakdown and --litgpt-python are for --device cpu")
    if options.device == "cpu" and options.micro_batch:
        parser.error("--micro-batch is for --device cuda")
    return options


def peak_of(device: str) -> float:
    """Return the FLOP/s that MFU stands against, and say what they are."""
    if device == "cuda":
        peak, words = gpu_peak(torch.cuda.get_device_name())
        print(words)
        return peak
    peak = gemm_peak()
    print(f"float32 products: {peak / 1e9:.0f} GFLOP/s on {os.cpu_count()} cores")
    return peak


def main() -> None:
    options = read_options()
    require_device(options.device)
    rows = contenders(options)
    figures: list[dict[str, Any]] = []
    if options.busy_neighbour:
        figures += measure_neighbour(rows)
    elif options.breakdown:
        for name in options.shapes:
            print_breakdowns(rows, name)
    else:
        peak = peak_of(options.device)
        rounds = QUICK_ROUNDS if options.quick else ROUNDS
        for name in options.shapes:
            shape = with_micro_batches(SHAPES[name], options.micro_batch)
            figures += report(measure(contenders(options), name, rounds=rounds[name]), name, shape=shape, peak=peak)
    print(json.dumps({"figures": figures}))


if __name__ == "__main__":
    main()
