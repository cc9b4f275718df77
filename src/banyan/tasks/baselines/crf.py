"""Tagging without a Transformer: a linear-chain conditional random field over the words around each word."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from banyan.core.errors import missing_extra
from banyan.core.types import Prediction
from banyan.tasks.baselines.tagging import predict_tags, words_of
from banyan.tasks.tagging import TaggingExample

# F1 on validation splits, of WNUT-17 and of 2,500 rows of CLUENER: 19.7 and 63.5. Without c1, and without features that
# are seen once: 23.3 and 45.6 after 50 rounds.
_PARAMETERS = {"c1": 0.1, "c2": 0.01, "max_iterations": 80}
_REACH = 2  # words looked at on each side
_EDGE = "<edge>"


def conditional_random_field(
    task: str, train: Sequence[TaggingExample]
) -> Callable[[Sequence[TaggingExample]], list[Prediction]]:
    """Answer with the likeliest sequence of tags, from words, their parts and shapes, and the tags beside them.

    Raises: MissingExtraError if python-crfsuite is not installed.
    Source: Lafferty et al. 2001, as trained by CRFsuite (elastic net); the features are the usual ones of named
    entities, with neighbours up to two words (characters, where each has a tag) away.
    """
    tagger = _train(train)

    def answer(examples: Sequence[TaggingExample]) -> list[Prediction]:
        return [predict_tags(task, example, tagger.tag(_features(words_of(example)))) for example in examples]

    return answer


def _train(train: Sequence[TaggingExample]) -> Any:
    try:
        import pycrfsuite  # an extra
    except ImportError as error:
        raise missing_extra("python-crfsuite", "baselines", needed_for="the baseline CRF") from error
    trainer = pycrfsuite.Trainer(verbose=False, params=_PARAMETERS)
    for example in train:
        trainer.append(_features(words_of(example)), list(example.tags or ()))
    tagger = pycrfsuite.Tagger()
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "tags.crfsuite")
        trainer.train(path)
        tagger.open(path)  # which copies it; open_inmemory points into bytes that Python frees
    return tagger


def _features(words: Sequence[str]) -> list[list[str]]:
    padded = [_EDGE] * _REACH + [word.lower() for word in words] + [_EDGE] * _REACH
    return [_features_at(word, padded[at : at + 2 * _REACH + 1]) for at, word in enumerate(words)]


def _features_at(word: str, around: Sequence[str]) -> list[str]:
    found = ["bias", f"shape={_shape(word)}"]
    found += [f"word{at - _REACH}={near}" for at, near in enumerate(around)]
    found += [f"pair{at - _REACH}={left} {right}" for at, (left, right) in enumerate(pairwise(around))]
    if len(word) > 1:
        found += [f"begins={word[:length].lower()}" for length in (1, 2, 3)]
        found += [f"ends={word[-length:].lower()}" for length in (1, 2, 3)]
    return found


def _shape(word: str) -> str:
    """Return `Xx` for Paris, `X` for NATO, `0-0` for 3-1: kinds of characters, each run once."""
    kinds = "".join("X" if c.isupper() else "0" if c.isdigit() else "x" if c.isalpha() else c for c in word)
    return re.sub(r"(.)\1+", r"\1", kinds)
