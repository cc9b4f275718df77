"""The words of a task's training texts: which ones can be drawn, and which ones give the answer away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

import numpy as np

from banyan.tasks.units import has_unspaced_script

_DOUBTED = 10.0  # texts that a word is taken to have stood in beforehand, as often under each label as any word
_TELLING_ODDS = 2.0  # of a label, beside what they are without the word


class WordPool:
    """Words to draw from, each as often as the texts hold it; a word is exchanged with one of its own script.

    Source: unigram noise, Xie et al. 2017.
    """

    def __init__(self, counts: Mapping[str, int]) -> None:
        self._scripts = {
            is_unspaced: _Drawer({word: n for word, n in counts.items() if has_unspaced_script(word) == is_unspaced})
            for is_unspaced in (False, True)
        }

    def draw(self, like: str, generator: np.random.Generator) -> str | None:
        """Return a word of the script of another one; None if there is none."""
        return self._scripts[has_unspaced_script(like)].draw(generator)


class _Drawer:
    def __init__(self, counts: Mapping[str, int]) -> None:
        self._words = tuple(sorted(counts))
        self._sums = np.cumsum([counts[word] for word in self._words]) if counts else np.zeros(0)

    def draw(self, generator: np.random.Generator) -> str | None:
        if not self._words:
            return None
        return self._words[int(np.searchsorted(self._sums, generator.random() * self._sums[-1], side="right"))]


def telling_words(labelled: Iterable[tuple[Collection[str], str]]) -> frozenset[str]:
    """Return the words that make some label at least twice as likely (in odds) as it is without them, in lower case.

    A text that gets or loses such a word may belong to another label.
    """
    texts = [(frozenset(word.lower() for word in words), label) for words, label in labelled]
    labels = Counter(label for _, label in texts)
    if len(labels) < 2:
        return frozenset()
    together = Counter((word, label) for words, label in texts for word in words)
    counts = Counter(word for words, _ in texts for word in words)
    return frozenset(
        word
        for (word, label), seen in together.items()
        if _odds((seen + _DOUBTED * (share := labels[label] / len(texts))) / (counts[word] + _DOUBTED))
        >= _TELLING_ODDS * _odds(share)
    )


def _odds(share: float) -> float:
    return share / (1 - share)
