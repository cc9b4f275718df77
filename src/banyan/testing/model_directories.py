"""A whole model directory with one task of every kind, small enough for a test."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from banyan.core.model_directory import IMAGE_TOKENIZER_FILE, new_model_directory
from banyan.core.types import Image
from banyan.infer.sampling import SamplingConfig
from banyan.model.checkpoint import save_model
from banyan.model.transformer import Transformer
from banyan.runtime.description import describe_model, write_description
from banyan.tasks.base import Task
from banyan.testing.models import tiny_model, tiny_model_config
from banyan.testing.tasks import TASKS, VOCABULARY
from banyan.tokenizers.images import ImageTokenizer, PatchCodebook, save_image_tokenizer


def tiny_image_tokenizer() -> ImageTokenizer:
    """Return an image tokenizer for grey pictures of 4×4 pixels: 2×2 patches, 16 codes."""
    pixels = random.Random(0)
    images = [Image(width=4, height=4, channels=1, pixels=pixels.randbytes(16)) for _ in range(40)]
    return PatchCodebook.train(images, patch_size=2, num_codes=VOCABULARY.num_image_codes, seed=0)


def tiny_task_model(
    *, seed: int = 0, max_seq_len: int = 96, tasks: Sequence[Task[Any]] = tuple(TASKS.values())
) -> Transformer:
    """Return an untrained model with the heads that the tiny tasks need."""
    config = tiny_model_config(
        vocab_size=VOCABULARY.size,
        num_image_codes=VOCABULARY.num_image_codes,
        grid_size=2,
        max_seq_len=max_seq_len,
    )
    heads = [task.head for task in tasks if task.head is not None]
    return tiny_model(config, heads, seed=seed, std=0.3)


def save_tiny_model(
    directory: Path,
    *,
    seed: int = 0,
    max_seq_len: int = 96,
    sampling: Mapping[str, SamplingConfig] | None = None,
    tasks: Sequence[Task[Any]] = tuple(TASKS.values()),
) -> Path:
    """Write a model directory that `banyan.load` opens; unless others are given, with the tasks of `banyan.testing`."""
    tokenizer = tiny_image_tokenizer()
    with new_model_directory(directory) as temporary:
        save_model(tiny_task_model(seed=seed, max_seq_len=max_seq_len, tasks=tasks), temporary)
        VOCABULARY.save(temporary)
        save_image_tokenizer(tokenizer, temporary / IMAGE_TOKENIZER_FILE)
        write_description(temporary, describe_model(tasks, image_tokenizer=tokenizer, sampling=sampling))
    return directory
