"""Small pictures of three kinds that a tiny tokenizer can tell apart, for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def tiny_pictures(num: int, *, size: int = 8, channels: int = 1, seed: int = 0) -> NDArray[np.uint8]:
    """Return pictures of a bright bar that lies, stands or is a square, at some place: kind n % 3 is picture n's.

    Shapes: (num, size, size, channels).
    """
    rng = np.random.default_rng(seed)
    pictures = rng.integers(0, 40, (num, size, size, channels), dtype=np.uint8)
    for number in range(num):
        top, left = rng.integers(0, size // 2, 2)
        height, width = ((2, size), (size, 2), (size // 2, size // 2))[number % 3]
        pictures[number, top : top + height, left : left + width] = rng.integers(150, 256, channels)
    return pictures


def write_tiny_npz(path: Path, *, num: int = 60, size: int = 8, channels: int = 1) -> Path:
    """Write training and test pictures with their labels as one npz file."""
    train, test = (
        tiny_pictures(count, size=size, channels=channels, seed=seed) for seed, count in enumerate((num, 12))
    )
    np.savez(path, x_train=train, y_train=np.arange(num) % 3, x_test=test, y_test=np.arange(12) % 3)
    return path
