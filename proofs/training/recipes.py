"""The recipes the trials run: one for each kind of training, over the same tiny data, each with what it remembers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

NUM_STEPS = 60
_MODEL = {"num_layers": 2, "num_heads": 2, "num_kv_heads": 1, "embed_dim": 32, "head_dim": 16, "ffn_dim": 64}
_TRAIN = {
    "steps": NUM_STEPS,
    "seq_len": 48,
    "micro_batch_seqs": 2,
    "accumulation_steps": 2,
    "checkpoint_every": 7,
    "evaluate_every": 25,
    "log_every": 1,
}
_ADAMW = {"name": "adamw", "learning_rate": 0.01}
# What a child of the pretrained run keeps from one step to the next, beyond what any run does.
_CHILDREN: dict[str, dict[str, Any]] = {
    "lora": {"transfer": {"lora": {"rank": 2, "dropout": 0.1}}, "optimizer": _ADAMW},
    "head": {"transfer": {"mode": "head", "last_blocks": 1, "cache": "bfloat16"}},
    "unfreezing": {"transfer": {"layer_decay": 0.5, "unfreeze_every": 20}},
}
_TASKS = {
    "pretraining": ("language_modeling",),
    "joint": ("language_modeling", "classification", "image_generation"),
    **dict.fromkeys(_CHILDREN, ("classification",)),
}
KINDS = ("pretraining", "joint", "lora", "image_tokenizer", "head", "unfreezing")


def needs_parent(kind: str) -> bool:
    """Whether a run of this kind begins with the weights of the pretrained one."""
    return kind in _CHILDREN


def recipe_of(kind: str, *, rows: Mapping[str, Path], parent: Path | None = None) -> dict[str, Any]:
    """Return the recipe of a kind as plain values; `rows` are data files by kind of task."""
    if kind == "image_tokenizer":
        return _picture_tokenizer(rows["image_generation"])
    own: dict[str, Any] = {
        "name": "run",
        "seed": 7,
        "train": dict(_TRAIN),
        "evaluation": {"max_validation_examples": 2, "max_test_examples": 2},
        "tasks": [
            {"name": task, "kind": task, "data": {"train": str(rows[task]), "validation_fraction": 0.1}}
            for task in _TASKS[kind]
        ],
    }
    if parent is None:
        sizes = {"model": {**_MODEL, "dropout": 0.1}, "tokenizer": {"vocab_size": 300}}
        return {**own, **sizes, "image_tokenizer": {"num_codes": 8}}
    child = _CHILDREN[kind]
    return {**own, **child, "transfer": {"parent": str(parent), **child["transfer"]}}


def _picture_tokenizer(pictures: Path) -> dict[str, Any]:
    """Every part of the loss, the opponent half-way, an average of the weights, and pictures moved by chance."""
    return {
        "kind": "image_tokenizer",
        "name": "run",
        "seed": 7,
        "data": {"train": str(pictures), "validation_fraction": 0.1},
        "pictures": {"image_size": 8, "augment": {"crop_pixels": 1}},
        "tokenizer": {"levels": [4, 4], "widths": [8, 8]},
        "loss": {"perceptual": 0.1, "adversarial": 0.1, "adversarial_start": 0.5},
        "train": {**_TRAIN, "seq_len": 1, "micro_batch_seqs": 4},
    }
