"""What to change in a recipe after a signal: the keys and their new values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from banyan.core.files import atomic_write_text
from banyan.train.optimizer import LEARNING_RATES
from banyan.workflows.recipe import Recipe
from banyan.workflows.sidecars import RECIPE_FILE

PATCH_FILE = "diagnosis.yaml"
_BESIDE_MUON = ("matrix_learning_rate", "embedding_learning_rate")

Changes = Mapping[str, Any]  # by key, as on the command line


def patch_for(signal: str, recipe: Recipe, *, rate_scale: float = 1.0) -> Changes:
    """Return the changes that the signal asks for; none where the recipe is not at fault.

    `rate_scale` is what the run itself has left of its learning rate: a rate that it got along with.
    """
    propose = _PROPOSALS.get(signal)
    return {} if propose is None else propose(recipe, rate_scale)


def write_patch(run_directory: Path, recipe: Recipe, changes: Changes) -> Path:
    """Write a recipe that extends the run's own by the changes, ready to be trained under a new name.

    Raises: SpaceError if the folder cannot be written.
    """
    tree: dict[str, Any] = {"extends": RECIPE_FILE, "name": f"{recipe.name[:90]}-changed"}
    for key, value in changes.items():
        *path, last = key.split(".")
        place = tree
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value
    atomic_write_text(run_directory / PATCH_FILE, yaml.safe_dump(tree, sort_keys=False, allow_unicode=True))
    return run_directory / PATCH_FILE


def overrides(changes: Changes) -> list[str]:
    """Return the changes as one types them."""
    return [f"{key}={value}" for key, value in changes.items()]


def _lower_rates(recipe: Recipe, factor: float) -> dict[str, Any]:
    rates = {name: getattr(recipe.optimizer, name) for name in LEARNING_RATES}
    return {
        f"optimizer.{name}": _round(rate * factor)
        for name, rate in rates.items()
        if rate is not None and (recipe.optimizer.name == "muon" or name not in _BESIDE_MUON)
    }


def _round(value: float) -> float:
    return float(f"{value:.3g}")


def _longer_warmup(recipe: Recipe) -> dict[str, Any]:
    room = 1 - recipe.schedule.decay_fraction if recipe.schedule.name == "wsd" else 0.5
    return {"schedule.warmup_fraction": _round(min(room, max(0.05, 2 * recipe.schedule.warmup_fraction)))}


def _calmer(recipe: Recipe, rate_scale: float) -> Changes:
    return {**_lower_rates(recipe, min(0.5, rate_scale)), **_longer_warmup(recipe)}


def _slower(recipe: Recipe, rate_scale: float) -> Changes:
    return _lower_rates(recipe, min(0.7, rate_scale))


def _longer_rows(recipe: Recipe, rate_scale: float) -> Changes:
    return {"train.seq_len": 2 * recipe.train.seq_len}


def _harder_to_learn_by_heart(recipe: Recipe, rate_scale: float) -> Changes:
    return {
        "model.dropout": max(0.1, recipe.model.dropout or 0.0),
        "optimizer.weight_decay": _round(3 * max(recipe.optimizer.weight_decay, 0.03)),
        "train.early_stop_patience": 3,
    }


def _earlier_descent(recipe: Recipe, rate_scale: float) -> Changes:
    decay = min(1 - recipe.schedule.warmup_fraction, max(0.8, recipe.schedule.decay_fraction))
    return {"schedule.name": "wsd", "schedule.decay_fraction": _round(decay)}


def _fewer_codes(recipe: Recipe, rate_scale: float) -> Changes:
    return {"image_tokenizer.num_codes": max(2, recipe.image_tokenizer.num_codes // 2)}


def _calmer_words(recipe: Recipe, rate_scale: float) -> Changes:
    return {"optimizer.embedding_learning_rate": _round(recipe.optimizer.embedding_learning_rate * 0.5)}


_PROPOSALS: Mapping[str, Callable[[Recipe, float], Changes]] = {
    "diverged": _calmer,
    "not_finite": _calmer,
    "chronic_spikes": _calmer,
    "dead_units": _calmer,
    "attention_logits": _slower,
    "update_too_large": _slower,
    "layer_gradient": _slower,
    "residual_growth": _slower,
    "log_normaliser": _calmer_words,
    "masked_batch": _longer_rows,
    "over_fit": _harder_to_learn_by_heart,
    "plateau": _earlier_descent,
    "codebook_collapse": _fewer_codes,
}
