"""A real vocabulary that is small enough for a test."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from banyan.tokenizers.banyan_layout import SPECIAL_TOKENS
from banyan.tokenizers.bpe import BytePairTokenizer
from banyan.tokenizers.vocabulary import Vocabulary

_NUM_ROWS = 320  # text and special rows of the tiny model
_SENTENCES = (
    "The banyan grows one tree at a time until it is a whole forest.",
    "def add(first, second):\n    return first + second\n",
    "What does the function return? It returns the sum of the two numbers.",
    "独木成林：一棵树，一片森林。",
    "今天天气很好，我们去看一棵大树。",
)


@cache
def tiny_tokenizer() -> BytePairTokenizer:
    """Return a byte-level BPE trained on a few sentences in English and Chinese."""
    return BytePairTokenizer.train(_SENTENCES * 4, vocab_size=_NUM_ROWS - len(SPECIAL_TOKENS))


def tiny_vocabulary(task_names: Sequence[str] = (), num_image_codes: int = 0) -> Vocabulary:
    """Return a vocabulary of 320 text and special ids, followed by the image codes."""
    return _tiny_vocabulary(tuple(task_names), num_image_codes)


@cache
def _tiny_vocabulary(task_names: tuple[str, ...], num_image_codes: int) -> Vocabulary:
    return Vocabulary(tiny_tokenizer(), task_names=task_names, num_image_codes=num_image_codes)
