"""Is what `train.budget` chooses near the best of its neighbours?

    python benchmarks/dial_sweep.py [--quick] [--seconds 60] [--max-runs 99] [--folder DIRECTORY]

English novels (eltec_eng, BANYAN_DATA). For one budget the dial's model is trained, then ones with every learning rate
halved and doubled, for the same steps; then the next narrower and the next wider model, half and twice the batch, for
the same seconds. A run that is done lies in the folder and is not done again; `--max-runs` stops after so many new
ones. Without a folder all is done at once. The last line is one JSON object; a ratio below 1: a neighbour is better.
"""

from __future__ import annotations

import argparse
import dataclasses
import gzip
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from banyan.core.config import config_from_mapping, config_to_mapping
from banyan.train.callbacks import Callback, EvaluationRecord
from banyan.workflows.material import Material, gather_material
from banyan.workflows.recipe import Recipe
from banyan.workflows.reporter import SilentReporter
from banyan.workflows.settling import settle_sizes
from banyan.workflows.training import train

NUM_NOVELS, NUM_HELD_OUT_BYTES = 16, 150_000
RATES = ("learning_rate", "matrix_learning_rate", "embedding_learning_rate")


class LastScore(Callback):
    """Remembers the bits per byte of the last evaluation."""

    bits_per_byte = float("nan")

    def on_evaluation(self, record: EvaluationRecord) -> None:
        """Take the score."""
        self.bits_per_byte = float(record.metrics["novels/bits_per_byte"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="10 seconds a run, learning rates only")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--max-runs", type=int, default=99)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    seconds = 10 if options.quick else options.seconds
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        results = sweep(folder, seconds=seconds, max_runs=options.max_runs, rates_only=options.quick)
    report(results, seconds=seconds)


def sweep(folder: Path, *, seconds: int, max_runs: int, rates_only: bool) -> dict[str, dict[str, Any]]:
    """Return the result of every variant, done now or before."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    recipe = recipe_on(write_data(folder / "data"))
    material = gather_material(recipe, folder / "material", reporter=SilentReporter())
    chosen_path, results_path = folder / f"chosen-{seconds}s.json", folder / f"results-{seconds}s.json"
    if chosen_path.is_file():
        chosen = config_from_mapping(Recipe, json.loads(chosen_path.read_text()))
    else:
        chosen = settle(recipe, material, seconds=seconds)
        chosen_path.write_text(json.dumps(plain(chosen)))
    results = json.loads(results_path.read_text()) if results_path.is_file() else {}
    for name, variant in variants(chosen, seconds=seconds):
        if name in results or max_runs == 0 or (rates_only and name not in ("dial", "rates / 2", "rates × 2")):
            continue
        results[name] = trained(variant, material, folder=folder)
        results_path.write_text(json.dumps(results, indent=2))
        print(f"{name:<12} {json.dumps(results[name])}", flush=True)
        max_runs -= 1
    return results


def write_data(folder: Path) -> Path:
    """Write some novels to learn from and a stretch of another one to be scored on."""
    source = Path(os.environ["BANYAN_DATA"]) / "eltec_eng"
    with gzip.open(source / "train.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for _, line in zip(range(NUM_NOVELS), lines, strict=False)]
    with gzip.open(source / "validation.jsonl.gz", "rt", encoding="utf-8") as lines:
        held_out = json.loads(next(lines))["text"][:NUM_HELD_OUT_BYTES]
    texts = {"train": [row["text"] for row in rows], "validation": [held_out]}
    for split, found in texts.items():
        content = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in found)
        (folder / f"{split}.jsonl").write_text(content, encoding="utf-8")
    return folder


def recipe_on(data: Path) -> Recipe:
    task = {
        "name": "novels",
        "kind": "language_modeling",
        "data": {split: str(data / f"{split}.jsonl") for split in ("train", "validation")},
    }
    mapping = {"name": "dial", "tasks": [task], "tokenizer": {"vocab_size": 2048, "max_training_bytes": 4_000_000}}
    return config_from_mapping(Recipe, {**mapping, "device": "cpu", "evaluation": {"num_validations": 1}})


def settle(recipe: Recipe, material: Material, *, seconds: float) -> Recipe:
    """Return what the dial chooses for so many seconds."""
    asked = dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, budget=f"{seconds}s"))
    return settle_sizes(asked, material, reporter=SilentReporter(), device=torch.device("cpu"))


def variants(chosen: Recipe, *, seconds: float) -> Iterator[tuple[str, Recipe]]:
    """Yield the dial's choice and its neighbours; those whose steps take another time get the budget's seconds."""
    yield "dial", chosen
    for name, factor in (("rates / 2", 0.5), ("rates × 2", 2.0)):
        rates = {rate: getattr(chosen.optimizer, rate) * factor for rate in RATES}
        yield name, dataclasses.replace(chosen, optimizer=dataclasses.replace(chosen.optimizer, **rates))
    for name, step in (("narrower", -32), ("wider", 32)):
        model = with_width(chosen, (chosen.model.embed_dim or 0) + step)
        yield name, dataclasses.replace(chosen, minutes=seconds / 60, model=model)
    rows = chosen.train.batch_seqs
    for name, count in (("batch / 2", max(1, rows // 2)), ("batch × 2", rows * 2)):
        micro_batch_seqs = min(count, chosen.train.micro_batch_seqs)
        sizes = {"micro_batch_seqs": micro_batch_seqs, "accumulation_steps": count // micro_batch_seqs}
        yield name, dataclasses.replace(chosen, minutes=seconds / 60, train=dataclasses.replace(chosen.train, **sizes))


def with_width(chosen: Recipe, width: int) -> Any:
    heads = width // (chosen.model.head_dim or 1)
    ffn_dim = -(-8 * width // 3 // 32) * 32
    return dataclasses.replace(chosen.model, embed_dim=width, num_heads=heads, num_kv_heads=heads, ffn_dim=ffn_dim)


def trained(recipe: Recipe, material: Material, *, folder: Path) -> dict[str, Any]:
    """Train one variant and score it once."""
    heard = LastScore()
    with tempfile.TemporaryDirectory(dir=folder) as run:
        outcome = train(
            recipe, reporter=SilentReporter(), callbacks=[heard], run_directory=Path(run) / "run", material=material
        )
    model, sizes = outcome.recipe.model, outcome.recipe.train
    return {
        "bits_per_byte": round(heard.bits_per_byte, 4),
        "width": model.embed_dim,
        "batch_tokens": sizes.batch_seqs * sizes.seq_len,
        "steps": sizes.steps,
        "matrix_rate": outcome.recipe.optimizer.matrix_learning_rate,
        "seconds": round(outcome.result.seconds, 1),
    }


def plain(recipe: Recipe) -> dict[str, Any]:
    mapping: dict[str, Any] = config_to_mapping(recipe)
    return mapping


def report(results: dict[str, dict[str, Any]], *, seconds: int) -> None:
    """Print the table and, as the last line, how the dial's choice stands to its best neighbour."""
    for name, row in results.items():
        print(f"{name:<12} " + "  ".join(f"{key}={value}" for key, value in row.items()))
    others = {name: row["bits_per_byte"] for name, row in results.items() if name != "dial"}
    figures = []
    if "dial" in results and others:
        best = min(others, key=lambda name: others[name])
        ours = results["dial"]["bits_per_byte"]
        ratio = round(others[best] / ours, 4)
        name = f"dial/{seconds}s"
        figures = [{"name": name, "value": ours, "unit": "bits per byte", "ratio": ratio, "against": best}]
    print(json.dumps({"figures": figures}))


if __name__ == "__main__":
    main()
