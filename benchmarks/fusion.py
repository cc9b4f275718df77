"""Does a classifier that reads a picture together with a text beat either alone?

    python benchmarks/fusion.py [--quick] [--steps 200] [--only both|picture|text]

The pictures are the scanned digits of scikit-learn (1797), scaled down to 4×4 pixels, their lower half covered. Whole
ones say so much that a noisy text adds nothing that can be told from chance: after 200 steps the picture alone was
right on 96.7 % of whole digits at 8×8 and on 89.2 % at 4×4, and with the text on 94.4 % and 91.1 %. Beside each
stands what somebody believes to have seen: right in six cases of ten, otherwise one of the other nine digits. So a
text alone cannot be right more often than that, and the picture alone knows nothing of it. Three models of the same
size learn as many steps from the same rows; a fifth of the rows is held out, the same for all. The last line is one
JSON object, with the better of the two that read one thing alone as what both are held against.
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
from banyan.workflows.evaluation import evaluate
from banyan.workflows.recipe import Recipe
from banyan.workflows.reporter import SilentReporter
from banyan.workflows.training import train

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
RIGHT = 0.6  # of the texts
BOTH = "both"
WAYS: dict[str, dict[str, Any]] = {
    BOTH: {"kind": "picture_classification"},
    "picture": {"kind": "picture_classification", "reads_text": False},
    "text": {"kind": "classification"},
}


def write_rows(folder: Path) -> dict[str, str]:
    """Write the training and test rows and return where they are."""
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
    border = len(rows) * 4 // 5
    places = {"train": order[:border], "test": order[border:]}
    for split, chosen in places.items():
        lines = "".join(json.dumps(rows[place]) + "\n" for place in chosen)
        (folder / f"{split}.jsonl").write_text(lines, encoding="utf-8")
    return {split: str(folder / f"{split}.jsonl") for split in places}


def accuracy(way: str, data: dict[str, str], folder: Path, *, steps: int) -> tuple[float, float, float]:
    """Train one way and return its accuracy on held-out rows, with the bounds of the 95 % interval."""
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
    found = run.evaluations["digit"]
    interval = found.intervals["accuracy"]
    return found.scores["accuracy"], interval.low, interval.high


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="60 steps")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--only", choices=tuple(WAYS))
    asked = parser.parse_args()
    scores: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        data = write_rows(Path(name))
        for way in [asked.only] if asked.only else WAYS:
            start = time.perf_counter()
            scores[way], low, high = accuracy(way, data, Path(name), steps=60 if asked.quick else asked.steps)
            seconds = time.perf_counter() - start
            print(f"{way:8} {scores[way]:.1%}   95 % interval {low:.1%} to {high:.1%}   {seconds:.0f} s")
    print(json.dumps({"figures": [figure(way, scores) for way in scores]}))


def figure(way: str, scores: dict[str, float]) -> dict[str, object]:
    """Return the accuracy of one way beside the best of those that read one thing alone."""
    alone = {name: score for name, score in scores.items() if name != BOTH} or scores
    best = max(alone, key=lambda name: alone[name])
    ratio = scores[way] / alone[best] if alone[best] else None
    unit = {"name": f"fusion/{way}", "value": round(scores[way], 4), "unit": "accuracy"}
    return {**unit, "ratio": None if ratio is None else round(ratio, 3), "against": f"{best} alone"}


if __name__ == "__main__":
    main()
