"""Which words a model's embeddings put beside a word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from banyan.runtime.loaded_model import LoadedModel
from banyan.tasks.units import has_unspaced_script

_MAX_WORDS = 8000  # the commonest; each is compared with each
_MOST = 5  # neighbours of a word
_NEAREST_COSINE = 0.4  # below, words have little to do with each other
_BLOCK = 1024  # words compared at once


def word_neighbours(model: LoadedModel, counts: Mapping[str, int]) -> dict[str, tuple[str, ...]]:
    """Return, for the commonest words, which of them lie nearest in the model's embeddings.

    A word of several tokens lies at the mean of theirs. Words of another script are no neighbours, nor is the same word
    in other capitals.
    """
    words = [word for word, _ in Counter(counts).most_common(_MAX_WORDS)]
    found: dict[str, tuple[str, ...]] = {}
    for is_unspaced in (False, True):
        own = [word for word in words if has_unspaced_script(word) == is_unspaced]
        if len(own) > 1:
            found |= nearest_words(own, model.embed(own, layer=0))
    return found


def nearest_words(words: Sequence[str], vectors: NDArray[np.float32]) -> dict[str, tuple[str, ...]]:
    """Return the nearest words of each word that has some, the nearest one first.

    Shapes: vectors (words, D), each of length 1.
    """
    _, forms = np.unique([word.casefold() for word in words], return_inverse=True)
    found: dict[str, tuple[str, ...]] = {}
    for first in range(0, len(words), _BLOCK):
        rows = slice(first, first + _BLOCK)
        cosines = vectors[rows] @ vectors.T
        cosines[forms[rows, None] == forms[None, :]] = -1.0
        for word, row in zip(words[rows], cosines, strict=True):
            nearest = np.argsort(-row, kind="stable")[:_MOST]
            if near := tuple(words[number] for number in nearest if row[number] >= _NEAREST_COSINE):
                found[word] = near
    return found
