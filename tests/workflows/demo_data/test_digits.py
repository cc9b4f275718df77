from __future__ import annotations

import random

import numpy as np
from sklearn.datasets import load_digits

from banyan.workflows.demo_data.digits import caption, digit_rows
from banyan.workflows.demo_data.splits import Split


def test_every_scanned_digit_is_in_exactly_one_split_with_its_own_label() -> None:
    bunch = load_digits()
    expected = {
        bytes(np.rint(image * 255 / 16).astype(np.uint8).ravel().tolist()): str(digit)
        for image, digit in zip(bunch.images, bunch.target, strict=True)
    }
    rows = digit_rows(generator=random.Random(0))
    labels = [{bytes(row["image"]["pixels"]): row["label"] for row in rows[split]} for split in Split]
    assert labels[0] | labels[1] | labels[2] == expected
    assert sum(map(len, labels)) == len(expected)


def test_captions_name_the_digit_in_english_and_chinese() -> None:
    assert caption("a handwritten {english}", 7) == "a handwritten seven"
    assert caption("手写数字{chinese}", 7) == "手写数字七"
    assert caption("the digit {digit}", 7) == "the digit 7"


def test_a_caption_belongs_to_one_digit_only() -> None:
    rows = [row for part in digit_rows(generator=random.Random(0)).values() for row in part]
    pairs = {(row["text"], row["label"]) for row in rows}
    assert len({text for text, _ in pairs}) == len(pairs) == 90
