"""Classification without a Transformer: fastText, a linear model of averaged word and word-pair vectors."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from banyan.core.errors import DataError, missing_extra
from banyan.tasks.baselines.labels import LabelAnswers, majority_label, ranked_labels
from banyan.tasks.classification import ClassificationExample
from banyan.tasks.units import words

_PREFIX = "__label__"
_MANY_EXAMPLES = 20_000  # from here on, fewer rounds are enough
# Rows that pairs of words share by their hash. With one thread fastText sets a tenth of them and leaves the others as
# the memory was: a table of 80 MB comes from the system as zeros, one of 20 MB held garbage and NaN (measured, Linux).
_BUCKETS = 2_000_000
_LEARNING_RATES = (0.5, 0.1)  # the second where the first finds no finite weights


def fasttext(task: str, train: Sequence[ClassificationExample], *, seed: int) -> LabelAnswers:
    """Answer with fastText on single words and pairs; Han and kana by character. The same seed gives the same model.

    Raises: MissingExtraError if fastText is not installed.
    Source: Joulin et al. 2016 (10 dimensions, pairs of words, learning rate 0.5).
    """
    names = sorted({example.label or "" for example in train})
    if len(names) < 2:
        return majority_label(task, train)
    number = {name: at for at, name in enumerate(names)}
    lines = [f"{_PREFIX}{number[example.label or '']} {_plain(example.text)}" for example in train]
    model = _train(lines, num_epochs=10 if len(train) >= _MANY_EXAMPLES else 25, seed=seed)

    def answer(examples: Sequence[ClassificationExample]) -> list[Any]:
        found = zip(*model.predict([_plain(example.text) for example in examples], k=len(names)), strict=True)
        return [ranked_labels(task, *_named(labels, probs, names)) for labels, probs in found]

    return answer


def _train(lines: Sequence[str], *, num_epochs: int, seed: int) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.txt"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        for learning_rate in _LEARNING_RATES:
            try:
                return _train_once(path, learning_rate=learning_rate, num_epochs=num_epochs, seed=seed)
            except RuntimeError:  # "Encountered NaN."
                continue
    raise DataError("fastText found no finite weights for these texts.", hint="leave it out: --baselines fast")


def _train_once(path: Path, *, learning_rate: float, num_epochs: int, seed: int) -> Any:
    try:
        from fasttext import train_supervised  # an extra
    except ImportError as error:
        raise missing_extra("fasttext-numpy2-wheel", "baselines", needed_for="the baseline fastText") from error
    return train_supervised(
        input=str(path),
        dim=10,
        lr=learning_rate,
        epoch=num_epochs,
        wordNgrams=2,
        bucket=_BUCKETS,
        thread=1,  # with more, no two models are the same
        seed=seed,
        verbose=0,
    )


def _named(labels: Sequence[str], probs: Sequence[float], names: Sequence[str]) -> tuple[list[str], list[float]]:
    """Return label names with probabilities that sum to 1; fastText's own are rounded up by a little."""
    total = float(sum(probs))
    return [names[int(label.removeprefix(_PREFIX))] for label in labels], [float(prob) / total for prob in probs]


def _plain(text: str) -> str:
    return " ".join(words(text.lower()))
