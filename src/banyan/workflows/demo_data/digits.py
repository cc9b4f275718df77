"""image_generation: "a handwritten seven" / "手写数字七" → a scanned digit, {"image", "text", "label"}.

The captions of the ten digits are the same in every split; what is held out are the pictures.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
from sklearn.datasets import load_digits

from banyan.core.types import Row
from banyan.workflows.demo_data.splits import Split, split_of_entry

_CAPTIONS_PER_PICTURE = 4
_BRIGHTEST = 16.0  # of the scanned samples

_ENGLISH = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_CHINESE = "零一二三四五六七八九"
_TEMPLATES = (
    "a handwritten {english}",
    "a handwritten {digit}",
    "the digit {digit}",
    "the number {english}",
    "draw a {english}",
    "手写数字{chinese}",
    "手写的{digit}",
    "数字{chinese}",
    "写一个{chinese}",
)


def caption(template: str, digit: int) -> str:
    """Return one caption of a digit."""
    return template.format(english=_ENGLISH[digit], chinese=_CHINESE[digit], digit=digit)


def digit_rows(*, generator: random.Random) -> dict[Split, list[Row]]:
    """Return every scanned digit with a few of its captions, split by picture and mixed."""
    rows: dict[Split, list[Row]] = {split: [] for split in Split}
    for image, digit, split in _pictures():
        for template in generator.sample(_TEMPLATES, _CAPTIONS_PER_PICTURE):
            rows[split].append({"image": image, "text": caption(template, digit), "label": str(digit)})
    for mixed in rows.values():
        generator.shuffle(mixed)
    return rows


def _pictures() -> Iterator[tuple[Row, int, Split]]:
    """Yield each picture as a row's value, its digit, and the split its pixels hash to."""
    bunch = load_digits()
    samples = np.rint(bunch.images * (255 / _BRIGHTEST)).astype(np.uint8)
    height, width = samples.shape[1:]
    for array, digit in zip(samples, bunch.target.tolist(), strict=True):
        image: Row = {"width": width, "height": height, "channels": 1, "pixels": array.ravel().tolist()}
        yield image, digit, split_of_entry(f"digit {array.tobytes().hex()}")
