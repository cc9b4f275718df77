"""Do the picture tokenizers keep what they must? Signal to noise, use of the codes, and what a classifier still sees.

    python benchmarks/picture_tokenizers.py [--quick] [--sets grey,digits,glyphs,cifar10,emoji] [--minutes 5] [--own P]

Each set is learned by the recipe that is shipped for its kind, and scored on test pictures that no part of the training
saw. A classifier of another shape learns the real training pictures; `kept` is its accuracy on what the tokenizer makes
of the test pictures, over that on the pictures themselves. `grey` is CIFAR-10 in grey at 28×28, `digits` the scans of
scikit-learn scaled up, `glyphs` ten letters in the fonts of matplotlib; cifar10 and emoji64 come from the catalog
(BANYAN_DATA). `--own` is an npz file, or a folder of IDX files, with training and test pictures of ten classes or so.
`--quick` trains each for 20 seconds on at most 6,000 pictures. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from banyan.tasks.config import TaskConfig
from banyan.tokenizers.images import load_image_tokenizer
from banyan.tokenizers.pictures import image_from_array, image_to_array
from banyan.train.picture_judge import JudgeTraining, judge_pictures, train_judge
from banyan.workflows.datasets import load_splits
from banyan.workflows.picture_tokenizer.pictures import PictureMaterial, PictureSet, read_set
from banyan.workflows.picture_tokenizer.recipe import PictureTokenizerRecipe, read_picture_recipe
from banyan.workflows.picture_tokenizer.scoring import psnr_of
from banyan.workflows.picture_tokenizer.training import train_picture_tokenizer
from banyan.workflows.reporter import SilentReporter

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that it runs as a script, too

from proofs.pictures.stand_ins import Labelled, digits, glyphs  # noqa: E402

RECIPES = ROOT / "recipes"
SETS = ("grey", "digits", "glyphs", "cifar10", "emoji")
GREY = {"psnr": 22.0, "code_use": 0.9, "kept": 0.95}
GATES: dict[str, dict[str, float]] = {
    **dict.fromkeys(("grey", "digits", "glyphs", "own"), GREY),
    "cifar10": {"psnr": 20.0, "kept": 0.7},
    "emoji": {"psnr": 20.0},
}
CATALOGUED = {"cifar10": "cifar10", "emoji": "emoji64"}  # set → the data that its recipe names
BATCH = 128
QUICK_PICTURES, QUICK_MINUTES = 6000, 1 / 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="20 seconds for each set")
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--minutes", type=float, help="of training, in place of the recipe's")
    parser.add_argument("--own", type=Path, help="pictures of your own, 28×28 grey")
    options = parser.parse_args()
    names = [name for name in options.sets.split(",") if name] + (["own"] if options.own else [])
    results = {}
    print(f"{'set':>8} {'dB':>6} {'codes used':>10} {'real':>6} {'kept':>6} {'seconds':>8}  gates")
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            recipe = recipe_of(name, Path(folder), own=options.own, quick=options.quick, minutes=options.minutes)
            results[name] = measured(name, recipe, Path(folder) / f"run-{name}", quick=options.quick)
            print(line_of(name, results[name]), flush=True)
    print(json.dumps(results))


def recipe_of(
    name: str, folder: Path, *, own: Path | None, quick: bool, minutes: float | None
) -> PictureTokenizerRecipe:
    """Return the shipped recipe of a set, with its data."""
    kind = {"cifar10": "", "emoji": "-emoji"}.get(name, "-grey")
    stand_in = {"digits": digits, "glyphs": glyphs}.get(name)
    data = "cifar10" if stand_in is None else str(saved(folder / f"{name}.npz", stand_in()))
    data = str(own) if name == "own" else data
    overrides = [f"data={{train: {data}, validation: null, test: {data}}}"]
    if name in CATALOGUED:
        overrides = [f"data.test={CATALOGUED[name]}"]
    overrides += [f"data.max_examples={QUICK_PICTURES}"] * quick
    overrides += [f"minutes={minutes or QUICK_MINUTES}"] * bool(quick or minutes)
    return read_picture_recipe(RECIPES / f"image_tokenizer{kind}.yaml", overrides=[*overrides, f"name={name}"])


def saved(path: Path, found: Labelled) -> Path:
    """Write four fifths as training and one fifth as test pictures."""
    pictures, labels = found.pixels, found.labels
    order = np.random.default_rng(0).permutation(len(pictures))
    test, train = order[: len(order) // 5], order[len(order) // 5 :]
    np.savez(path, x_train=pictures[train], y_train=labels[train], x_test=pictures[test], y_test=labels[test])
    return path


def measured(name: str, recipe: PictureTokenizerRecipe, run: Path, *, quick: bool) -> dict[str, float]:
    """Train a tokenizer and score it on the test pictures, as everybody reads it from its file."""
    outcome = train_picture_tokenizer(recipe, reporter=SilentReporter(), run_directory=run)
    test = test_pictures(recipe, outcome.material)
    tokenizer = load_image_tokenizer(run / "best")
    images = [image_from_array(array) for array in test.pixels.permute(0, 2, 3, 1).contiguous().numpy()]
    codes = tokenizer.encode(images)
    decoded = np.stack([image_to_array(image) for image in tokenizer.decode(codes)])
    back = torch.from_numpy(decoded).permute(0, 3, 1, 2).contiguous()
    scores = {
        "psnr": psnr_of(float((back.double() - test.pixels.double()).square().mean())),
        "code_use": len({code for row in codes for code in row}) / tokenizer.num_codes,
        "seconds": outcome.result.seconds,
        "steps": outcome.result.steps,
        "test_pictures": len(test),
    }
    return (
        scores if name == "emoji" else scores | kept_accuracy(recipe, outcome.material.train, test, back, quick=quick)
    )


def test_pictures(recipe: PictureTokenizerRecipe, material: PictureMaterial) -> PictureSet:
    task = TaskConfig(name="test", kind="image_generation", data=recipe.data)
    channels: Any = material.channels
    pictures = dataclasses.replace(recipe.pictures, image_size=material.image_size, channels=channels)
    return read_set(load_splits(task, seed=recipe.seed).test, recipe.data, pictures, split="test")


def kept_accuracy(
    recipe: PictureTokenizerRecipe, train: PictureSet, test: PictureSet, back: torch.Tensor, *, quick: bool
) -> dict[str, float]:
    """Return a classifier's accuracy on real pictures, and the part of it that is left on decoded ones."""
    steps = 150 if quick else 1500
    how = JudgeTraining(epochs=steps * BATCH / len(train), batch_pictures=BATCH, flips=recipe.pictures.augment.flip)
    net = train_judge(train.pixels, train.labels, num_labels=len(train.label_names), width=24, how=how, seed=1)
    real, decoded = (
        float((judge_pictures(net, pixels)[1] == test.labels).double().mean()) for pixels in (test.pixels, back)
    )
    return {"real_accuracy": real, "kept": decoded / real}


def line_of(name: str, scores: dict[str, float]) -> str:
    missed = [gate for gate, bound in GATES[name].items() if scores.get(gate, 0.0) < bound]
    real, kept = scores.get("real_accuracy", float("nan")), scores.get("kept", float("nan"))
    verdict = "reached" if not missed else "missed: " + ", ".join(missed)
    return (
        f"{name:>8} {scores['psnr']:6.2f} {scores['code_use']:10.1%} {real:6.1%} {kept:6.1%} "
        f"{scores['seconds']:8.0f}  {verdict}"
    )


if __name__ == "__main__":
    main()
