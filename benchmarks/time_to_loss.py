"""How soon Banyan reaches the loss that nanoGPT's character recipe ends with, and how low it gets in the same time.

    python benchmarks/time_to_loss.py [--quick] [--seeds 0 1 2] [--eltec] [--larger [--minutes 20]]
    python benchmarks/time_to_loss.py --device cuda [--quick] [--seeds 0 1 2]

BANYAN_DATA names the folder of the data sets. For each seed three processes run one after the other: the reference to
its end; ours until its loss is no higher than that; ours once more, for exactly the reference's seconds. The clock of
each starts with its process, compilation included (every cache starts empty), and stands still during evaluation. Both
are scored on the whole validation text in windows of the reference's context length. On a GPU the text is English
novels, the reference nanoGPT's recipe for a GPU, compiled. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # so that it runs as a script, too

from banyan.core.before_torch import BRIEF_SPINNING, PASSIVE_WAITING  # noqa: E402
from banyan.data.catalog import find_split, load_split  # noqa: E402
from benchmarks.gpu import DEVICES, require_device  # noqa: E402
from benchmarks.ngram import witten_bell_loss  # noqa: E402

NGRAM_ORDER = 6
MAX_TRAINING_BYTES = 16_000_000  # of a longer text, for every contender
# As the banyan program sets them, here for both: threads that spin while they wait made a step of either contender ten
# times slower whenever something else ran on one of two cores.
THREADS = dict([PASSIVE_WAITING, BRIEF_SPINNING])
REFERENCE, OURS = "benchmarks.peers.shakespeare", "benchmarks.banyan_text"


@dataclass(frozen=True, kw_only=True)
class Race:
    """One text and two recipes."""

    name: str  # of the figure
    dataset: str
    reference: str  # recipe of the peer
    ours: Path  # recipe of ours
    seq_len: int  # characters in a window of the evaluation: the reference's context
    unit: str
    nats_per_unit: float = 1.0
    device: str = "cpu"


SMALL = Race(
    name="shakespeare-cpu",
    dataset="tinyshakespeare",
    reference="small",
    ours=ROOT / "recipes/shakespeare.yaml",
    seq_len=64,
    unit="nats/character",
)
ELTEC = Race(
    name="eltec-cpu",
    dataset="eltec_eng",
    reference="small",
    ours=ROOT / "recipes/shakespeare.yaml",
    seq_len=64,
    unit="bits/byte",
    nats_per_unit=math.log(2),
)
ELTEC_ON_GPU = Race(
    name="eltec-cuda",
    dataset="eltec_eng",
    reference="large",
    ours=ROOT / "benchmarks/novels_gpu.yaml",
    seq_len=256,
    unit="bits/byte",
    nats_per_unit=math.log(2),
    device="cuda",
)
LARGER = Race(
    name="shakespeare-cpu-larger",
    dataset="tinyshakespeare",
    reference="large",
    ours=ROOT / "recipes/shakespeare-larger.yaml",
    seq_len=256,
    unit="nats/character",
)


def read_options(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed: 4 minutes on a CPU")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2], help="none: only what else is asked for")
    parser.add_argument("--eltec", action="store_true", help="also English novels, one seed, in bits per byte")
    parser.add_argument("--larger", action="store_true", help="also the larger recipe, one seed, in equal time")
    parser.add_argument("--minutes", type=float, default=20.0, help="of the larger recipe")
    parser.add_argument(
        "--compiled-reference", action="store_true", help="compile the reference; on a GPU it always is"
    )
    parser.add_argument("--device", choices=DEVICES, default="cpu", help="cuda: English novels alone, on one GPU")
    options = parser.parse_args(words)
    if options.device == "cuda" and options.larger:
        parser.error("--larger is for --device cpu")
    return options


def main() -> None:
    options = read_options()
    require_device(options.device)
    is_compiled = options.compiled_reference or options.device == "cuda"
    environment = {"REFERENCE_COMPILE": "1" if is_compiled else "0"}
    figures: list[dict[str, Any]] = []
    seeds = [0] if options.quick else options.seeds
    if options.device == "cuda":
        figures += race_to_loss(ELTEC_ON_GPU, seeds=seeds or [0], environment=environment)
        print(json.dumps({"figures": figures}))
        return
    if seeds:
        figures += race_to_loss(SMALL, seeds=seeds, environment=environment)
    if options.eltec:
        figures += race_to_loss(ELTEC, seeds=[0], environment=environment)
    if options.larger:
        figures += race_in_equal_time(LARGER, seconds=60 * options.minutes, environment=environment)
    print(json.dumps({"figures": figures}))


def race_to_loss(race: Race, *, seeds: Sequence[int], environment: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Run the reference to its end, ours to the reference's loss, and ours for the reference's time."""
    ratios, seconds, losses = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        texts = Path(folder)
        ngram = write_texts(race, texts)
        for seed in seeds:
            peer = run(REFERENCE, race, texts, recipe=race.reference, seed=seed, environment=environment)
            goal = peer["curve"][-1]
            ours = run(OURS, race, texts, recipe=str(race.ours), seed=seed)
            longer = run(OURS, race, texts, recipe=str(race.ours), seed=seed, max_seconds=goal["seconds"])
            reached = next((point for point in ours["curve"] if point["loss"] <= goal["loss"]), None)
            describe(race, seed, reference=peer, ours=ours, equal_time=longer, reached=reached)
            seconds.append(reached["seconds"] if reached else math.inf)
            ratios.append(goal["seconds"] / seconds[-1])
            losses.append((goal["loss"], longer["curve"][-1]["loss"]))
    print(f"{race.name}: a counted {NGRAM_ORDER}-gram model {ngram / race.nats_per_unit:.4f} {race.unit}")
    against = "nanoGPT recipe"
    if all(map(math.isfinite, seconds)):
        yield figure(race.name, statistics.median(seconds), "seconds", statistics.median(ratios), against=against)
        yield figure(f"{race.name}/slowest-seed", max(seconds), "seconds", min(ratios), against=against)
    else:
        yield figure(race.name, None, "seconds", 0.0, against=f"{against}; not reached by every seed")
    yield equal_time_figure(race, losses, against=against)


def race_in_equal_time(race: Race, *, seconds: float, environment: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Give both the same seconds and compare their last losses."""
    with tempfile.TemporaryDirectory() as folder:
        texts = Path(folder)
        ngram = write_texts(race, texts)
        peer = run(REFERENCE, race, texts, recipe=race.reference, seed=0, max_seconds=seconds, environment=environment)
        ours = run(OURS, race, texts, recipe=str(race.ours), seed=0, max_seconds=seconds)
    for name, report in (("reference", peer), ("banyan", ours)):
        print(f"{race.name} {name:<10} {course(race, report)}")
    print(f"{race.name}: a counted {NGRAM_ORDER}-gram model {ngram / race.nats_per_unit:.4f} {race.unit}")
    yield equal_time_figure(race, [(peer["curve"][-1]["loss"], ours["curve"][-1]["loss"])], against="nanoGPT recipe")


def write_texts(race: Race, folder: Path) -> float:
    """Write both texts and their alphabet for the contenders; return the loss of a counted model, nats a character."""
    texts = {part: text_of(race.dataset, part)[:MAX_TRAINING_BYTES] for part in ("train", "validation")}
    alphabet = bytes(sorted(set(texts["train"]) | set(texts["validation"])))
    for part, text in {**texts, "alphabet": alphabet}.items():
        (folder / f"{part}.bin").write_bytes(text)
    print(f"{race.dataset}: {len(texts['train']):,} bytes to learn, {len(texts['validation']):,} to score", flush=True)
    return witten_bell_loss(**texts, order=NGRAM_ORDER, vocab_size=len(alphabet))


def text_of(dataset: str, part: str) -> bytes:
    path = find_split(dataset, part)
    if path.suffix == ".txt":
        return path.read_bytes()
    return "\n\n".join(row["text"] for row in load_split(dataset, part)).encode()


def run(
    module: str,
    race: Race,
    texts: Path,
    *,
    recipe: str,
    seed: int,
    max_seconds: float = math.inf,
    environment: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Run one contender in a process of its own, with empty caches, and return its report."""
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.json"
        caches = {name: scratch for name in ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "TMPDIR")}
        words = {"texts": texts, "report": report, "recipe": recipe, "seq-len": race.seq_len, "seed": seed}
        words["device"] = race.device
        if math.isfinite(max_seconds):
            words["max-seconds"] = max_seconds
        words["started"] = time.monotonic()
        command = [sys.executable, "-m", module, *(f"--{name}={value}" for name, value in words.items())]
        subprocess.run(command, cwd=ROOT, env={**os.environ, **THREADS, **caches, **(environment or {})}, check=True)
        contender: dict[str, Any] = json.loads(report.read_text())
        return contender


def describe(
    race: Race,
    seed: int,
    *,
    reference: dict[str, Any],
    ours: dict[str, Any],
    equal_time: dict[str, Any],
    reached: dict[str, float] | None,
) -> None:
    for name, report in (("reference", reference), ("banyan", ours), ("equal time", equal_time)):
        print(f"{race.name} seed {seed} {name:<10} {course(race, report)}")
    end = reference["curve"][-1]
    said = f"reached after {reached['seconds']:.1f} s" if reached else "not reached"
    print(f"{race.name} seed {seed} the reference's last loss, of {end['seconds']:.1f} s, is {said}", flush=True)


def course(race: Race, report: dict[str, Any]) -> str:
    """Return the last loss of a contender, and how it came there, in one line."""
    points = [f"{point['loss'] / race.nats_per_unit:.4f}@{point['seconds']:.1f}s" for point in report["curve"][-4:]]
    return f"{report['num_parameters']:>9,} weights {report['tokens']:>10,} tokens  {' '.join(points)} {race.unit}"


def equal_time_figure(race: Race, losses: list[tuple[float, float]], *, against: str) -> dict[str, Any]:
    """Return the mean last loss of ours, and the smallest lead of any seed as its ratio."""
    mean = statistics.mean(ours for _, ours in losses) / race.nats_per_unit
    return figure(
        f"{race.name}/equal-time", mean, race.unit, min(peer / ours for peer, ours in losses), against=against
    )


def figure(name: str, value: float | None, unit: str, ratio: float, *, against: str) -> dict[str, Any]:
    print(f"{name:<34} {value if value is None else round(value, 4)} {unit}, {ratio:.2f} × {against}", flush=True)
    return {"name": name, "value": value, "unit": unit, "ratio": ratio, "against": against}


if __name__ == "__main__":
    main()
