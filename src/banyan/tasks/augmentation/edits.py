"""Small changes of a text, word by word: hide, replace, insert, delete, swap, and sentences in another order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from banyan.tasks.augmentation.passage import Word, gap_between

Words: TypeAlias = tuple[Word, ...]
Choose: TypeAlias = Callable[[str, np.random.Generator], str | None]  # a word → one to stand in its place, if any

BLANK = "_"  # stands where a word is hidden
_FULL_STOPS = frozenset(".!?")  # end a sentence where white space follows
_WIDE_STOPS = frozenset("。！？…")  # end it anywhere
_MAX_TITLE = 3  # letters; a capitalised word that short before a dot is a title or an initial


def exchange_words(words: Words, share: float, choose: Choose, generator: np.random.Generator) -> Words:
    """Put another word in the place of a share of the words, where there is one."""
    is_drawn = generator.random(len(words)) < share
    found = (choose(w.text, generator) if d and w.may_change else None for w, d in zip(words, is_drawn, strict=True))
    return tuple(w if text is None else replace(w, text=text) for w, text in zip(words, found, strict=True))


def hide_words(words: Words, share: float, generator: np.random.Generator) -> Words:
    """Put a blank in the place of a share of the words.

    Source: blank noise, Xie et al. 2017.
    """
    return exchange_words(words, share, lambda word, _: BLANK, generator)


def insert_words(words: Words, share: float, choose: Choose, generator: np.random.Generator) -> Words:
    """Put a word of the same script before a share of the words."""
    is_drawn = generator.random(len(words)) < share
    result: list[Word] = []
    for word, drawn in zip(words, is_drawn, strict=True):
        text = choose(word.text, generator) if drawn and word.may_change else None
        if text is not None:
            result.append(Word(text=text, gap=word.gap))
            word = replace(word, gap=gap_between(text, word.text))
        result.append(word)
    return tuple(result)


def delete_words(words: Words, share: float, generator: np.random.Generator) -> Words:
    """Leave out a share of the words, but never all of them."""
    is_drawn = generator.random(len(words)) < share
    left = [w for w, drawn in zip(words, is_drawn, strict=True) if not (drawn and w.may_change)]
    if not any(word.may_change or word.origin is not None for word in left):
        return words
    return (replace(left[0], gap=words[0].gap), *left[1:])


def swap_words(words: Words, share: float, generator: np.random.Generator) -> Words:
    """Let a share of the words change places with the one behind."""
    is_drawn = generator.random(len(words)) < share
    result = list(words)
    for at in range(len(words) - 1):
        if is_drawn[at] and result[at].may_change and result[at + 1].may_change:
            texts = result[at + 1].text, result[at].text
            result[at : at + 2] = [replace(w, text=t) for w, t in zip(result[at : at + 2], texts, strict=True)]
    return tuple(result)


def shuffle_sentences(words: Words, generator: np.random.Generator) -> Words:
    """Bring the sentences into another order; the gaps between them stay where they are."""
    sentences = split_sentences(words)
    shuffled = [sentences[number] for number in generator.permutation(len(sentences))]
    gaps = [sentence[0].gap for sentence in sentences]
    return tuple(
        word
        for gap, sentence in zip(gaps, shuffled, strict=True)
        for word in (replace(sentence[0], gap=gap), *sentence[1:])
    )


def split_sentences(words: Words) -> list[Words]:
    """Cut a text behind its full stops and at its line breaks; a word that must stay is never cut."""
    ends = [at for at in range(1, len(words)) if _ends_before(words, at)]
    edges = [0, *ends, len(words)]
    return [words[start:end] for start, end in zip(edges[:-1], edges[1:], strict=True) if end > start]


def _ends_before(words: Sequence[Word], at: int) -> bool:
    last, following = words[at - 1], words[at]
    if "\n" in following.gap:
        return True
    mark = last.text[-1:]
    if mark in _WIDE_STOPS:
        return following.text[:1].isalnum()  # not between a stop and the quotation mark that closes
    if mark not in _FULL_STOPS or not following.gap or last.origin is not None:
        return False
    return mark != "." or at < 2 or not _is_short_for_something(words[at - 2].text)


def _is_short_for_something(word: str) -> bool:
    return len(word) <= _MAX_TITLE and word[:1].isupper()
