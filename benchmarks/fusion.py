"""Does a classifier that reads a picture together with a text beat either alone?

    python benchmarks/fusion.py [--quick] [--steps 200] [--folds 5]

The pictures are the scanned digits of scikit-learn (1797), scaled down to 4×4 pixels, their lower half covered. Whole
ones say so much that a noisy text adds nothing that can be told from chance: after 200 steps the picture alone was
right on 96.7 % of whole digits at 8×8 and on 89.2 % at 4×4, and with the text on 94.4 % and 91.1 %. Beside each
stands what somebody believes to have seen: right in six cases of ten, otherwise one of the other nine digits. So a
text alone cannot be right more often than that, and the picture alone knows nothing of it. Three models of the same
size learn as many steps from the same rows; a fifth of the rows is held out, the same for all, and with five folds
every row once. The differences are resampled in pairs, row by row. The last line is one JSON object, with the better of
the two that read one thing alone as what both are held against.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

from banyan.core.config import config_from_mapping
from banyan.tasks.intervals import compare, confidence_intervals
from banyan.tasks.metrics.measurement import FloatArray, Measurement
from banyan.workflows.evaluation import evaluate
from banyan.workflows.recipe import Recipe
from banyan.workflows.reporter import SilentReporter
from banyan.workflows.training import train

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
RIGHT = 0.6  # of the texts
FOLDS = 5  # of the rows, each held out once
ACCURACY = "accuracy"
BOTH = "both"
WAYS: dict[str, dict[str, Any]] = {
    BOTH: {"kind": "picture_classification"},
    "picture": {"kind": "picture_classification", "reads_text": False},
    "text": {"kind": "classification"},
}


def write_rows(folder: Path, *, fold: int) -> dict[str, str]:
    """Write training rows and the fifth that is tested, and return where they are; no two folds share a test row."""
    digits, rng = load_digits(), np.random.default_rng(0)
    rows = []
    for pixels, label in zip(digits.images, digits.target, strict=True):
        believed = int(label) if rng.random() < RIGHT else int((label + rng.integers(1, 10)) % 10)
        small = pixels.reshape(4, 2, 4, 2).mean(axis=(1, 3))
        small[2:] = 0
        image = {
            "width": 4,
            "height": 4,
            "channels": 1,
            "pixels": np.minimum(small * 16, 255).astype(int).ravel().tolist(),
        }
        rows.append({"image": image, "text": f"it may be a {NAMES[believed]}", "label": NAMES[int(label)]})
    order = rng.permutation(len(rows))
    is_tested = np.arange(len(rows)) * FOLDS // len(rows) == fold
    places = {"train": order[~is_tested], "test": order[is_tested]}
    for split, chosen in places.items():
        lines = "".join(json.dumps(rows[place]) + "\n" for place in chosen)
        (folder / f"{split}.jsonl").write_text(lines, encoding="utf-8")
    return {split: str(folder / f"{split}.jsonl") for split in places}


def rights(way: str, data: dict[str, str], folder: Path, *, steps: int) -> FloatArray:
    """Train one way and return, for each held-out row, 1 where it is right and 0 where not."""
    recipe = config_from_mapping(
        Recipe,
        {
            "name": way,
            "model": {"num_layers": 2, "embed_dim": 96, "num_heads": 3, "num_kv_heads": 3, "ffn_dim": 256},
            "tokenizer": {"vocab_size": 300},
            "image_tokenizer": {"patch_size": 1, "num_codes": 8},
            "train": {"steps": steps, "seq_len": 48, "micro_batch_seqs": 32, "keep_checkpoints": 1},
            "evaluation": {"num_validations": 1, "max_test_examples": 1},
            "tasks": [{"name": "digit", "data": data, **WAYS[way]}],
        },
    )
    train(recipe, reporter=SilentReporter(), run_directory=folder / way)
    asked: dict[str, Any] = {"tasks": (), "data": (), "split": "test", "max_examples": 10_000}
    database = f"sqlite:///{folder / 'scores.db'}"
    run = evaluate(folder / way / "last", **asked, save_predictions=None, database=database, reporter=SilentReporter())
    return run.evaluations["digit"].measurement.statistics[:, 0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="60 steps, one fold")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--folds", type=int, default=FOLDS, choices=range(1, FOLDS + 1))
    asked = parser.parse_args()
    steps, folds = (60, 1) if asked.quick else (asked.steps, asked.folds)
    start = time.perf_counter()
    found: dict[str, list[FloatArray]] = {way: [] for way in WAYS}
    for fold in range(folds):
        with tempfile.TemporaryDirectory() as name:
            data = write_rows(Path(name), fold=fold)
            for way in WAYS:
                found[way].append(rights(way, data, Path(name), steps=steps))
        print(f"fold {fold + 1}: " + ", ".join(f"{way} {own[-1].mean():.1%}" for way, own in found.items()), flush=True)
    tell({way: measured(np.concatenate(own)) for way, own in found.items()}, seconds=time.perf_counter() - start)


def measured(rights_N: FloatArray) -> Measurement:
    """Return what was right as a measurement that can be resampled."""
    return Measurement(
        statistics=np.stack([rights_N, np.ones_like(rights_N)], axis=1),
        summarize=lambda totals: {ACCURACY: totals[0] / totals[1]},
    )


def tell(found: dict[str, Measurement], *, seconds: float) -> None:
    """Print what each way scored, and how much better both together are than either alone."""
    print(f"{len(found[BOTH])} rows, {seconds:.0f} s")
    for way, own in found.items():
        interval = confidence_intervals(own)[ACCURACY]
        line = f"{way:8} {own.scores()[ACCURACY]:.1%}   95 % interval {interval.low:.1%} to {interval.high:.1%}"
        if way != BOTH:
            better = compare(found[BOTH], own, score=ACCURACY)
            low, high = better.interval.low, better.interval.high
            line += f"   both: {better.improvement:+.1%}, 95 % interval {low:+.1%} to {high:+.1%}"
        print(line)
    scores = {way: own.scores()[ACCURACY] for way, own in found.items()}
    print(json.dumps({"figures": [figure(way, scores) for way in scores]}))


def figure(way: str, scores: dict[str, float]) -> dict[str, object]:
    """Return the accuracy of one way beside the best of those that read one thing alone."""
    alone = {name: score for name, score in scores.items() if name != BOTH}
    best = max(alone, key=lambda name: alone[name])
    ratio = scores[way] / alone[best] if alone[best] else None
    unit = {"name": f"fusion/{way}", "value": round(scores[way], 4), "unit": "accuracy"}
    return {**unit, "ratio": None if ratio is None else round(ratio, 3), "against": f"{best} alone"}


if __name__ == "__main__":
    main()
