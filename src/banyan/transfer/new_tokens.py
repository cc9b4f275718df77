"""Text tokens on top of a tokenizer that exists: learned on text, or given as words."""

from __future__ import annotations

import itertools
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import Encoding, Tokenizer

from banyan.tokenizers.foreign_bpe import SPACE_MARK, token_names
from banyan.tokenizers.inspect import script_of
from banyan.transfer.merge_learning import MergeTable, learn_merges

_LINES_AT_ONCE = 4096
_MAX_NAME_LENGTH = 24  # of a learned token: bytes, or characters of a SentencePiece tokenizer
_CHARACTER_SHARE = 0.5  # of the learned tokens may be single characters
_BYTE_TOKEN = re.compile(r"<0x[0-9A-Fa-f]{2}>")
_ALONE = "alone"
_UNSPACED_SCRIPTS = ("Han", "Kana", "Thai")
_MAX_LINE_CHARACTERS = 10_000  # longer ones are read in parts


@dataclass(frozen=True, kw_only=True, slots=True)
class TextTokens:
    """New tokens that stand for text."""

    names: Mapping[int, str]  # as tokenizer.json writes them
    pieces: Mapping[int, tuple[int, ...]]  # the old ids that each stands for
    merges: tuple[tuple[str, str], ...]  # pairs of names, in the order in which they are applied
    unlearned_words: tuple[str, ...]  # given words that the tokenizer always cuts, so no merge can join them


class TokenLearner:
    """Adds characters, learned merges and given words, in this order, to one tokenizer."""

    def __init__(self, text_tokenizer: str, description: Mapping[str, Any], *, first_id: int) -> None:
        """Take the tokenizer without its special tokens, and with them; new ids begin at `first_id`."""
        self._written = json.loads(text_tokenizer)
        self._tokenizer = Tokenizer.from_str(text_tokenizer)
        names = token_names(description)
        self._id_of = {name: token_id for token_id, name in names.items()}
        self._is_sentencepiece = bool(description["model"].get("byte_fallback"))
        self._characters: dict[int, str] = {}
        self._table = MergeTable(names=names, next_id=first_id)
        self._unlearned: list[str] = []

    def learn(self, texts: Iterable[str], *, num_tokens: int, min_frequency: int) -> None:
        """Learn up to so many tokens: first the characters a SentencePiece tokenizer lacks, then merges."""
        lines = [line for text in texts for line in _lines(text)]
        if self._is_sentencepiece:
            counts = Counter(itertools.chain.from_iterable(lines))
            missing = [c for c, count in counts.most_common() if count >= min_frequency and self._is_missing(c)]
            self._add_characters(missing[: int(num_tokens * _CHARACTER_SHARE)])
        learn_merges(
            self._table,
            Counter(word for word in self._words(lines) if len(word) > 1),
            num_merges=num_tokens - len(self._characters),
            min_frequency=min_frequency,
            max_name_length=_MAX_NAME_LENGTH,
        )

    def add_word(self, word: str) -> None:
        """Make a word one token by merging its pieces from the left; each step on the way becomes a token as well.

        Where a script is written with spaces, so does the word behind a space.
        """
        self._add_characters([character for character in dict.fromkeys(word) if self._is_missing(character)])
        if not all([self._join(form, written) for form, written in self._ways_to_write(word)]):
            self._unlearned.append(word)

    def _ways_to_write(self, word: str) -> list[tuple[str, list[tuple[int, ...]]]]:
        """Return each form in which a word stands in a text, and its stretches of ids."""
        is_spaced = not any(script_of(character) in _UNSPACED_SCRIPTS for character in word)
        if not self._is_sentencepiece:
            forms = (word, f" {word}") if is_spaced else (word,)
            return [(form, list(self._words([form]))) for form in forms]
        if is_spaced:  # such a tokenizer puts the space before the word itself
            return [(word, list(self._words([word])))]
        behind_line_end = list(self._words([f"\n{word}"]))
        return [(word, behind_line_end[behind_line_end.index(self._byte_ids("\n")) + 1 :])]

    def _join(self, form: str, stretches: Sequence[tuple[int, ...]]) -> bool:
        """Add the merges that make one token of a word, and say whether that is possible."""
        if len(stretches) != 1:
            return False
        characters = [next(self._words([character])) for character in form]
        if tuple(itertools.chain.from_iterable(characters)) == stretches[0]:
            for own in characters:  # characters first: half of one is of no use to other words
                self._join_from_left(own)
        return self._join_from_left(stretches[0])

    def _join_from_left(self, token_ids: Sequence[int]) -> bool:
        ids = self._table.apply(token_ids)
        while len(ids) > 1 and self._table.can_merge((ids[0], ids[1])):
            self._table.add((ids[0], ids[1]))
            ids = self._table.apply(ids)
        return len(ids) == 1

    def result(self) -> TextTokens:
        """Return everything that was added."""
        names, merges = self._table.names, self._table.merges
        pieces = {token_id: self._byte_ids(character) for token_id, character in self._characters.items()}
        for new_id in merges.values():
            parts = (pieces.get(part, (part,)) for part in self._table.spell_out(new_id))
            pieces[new_id] = tuple(itertools.chain.from_iterable(parts))
        return TextTokens(
            names={token_id: names[token_id] for token_id in pieces},
            pieces=pieces,
            merges=tuple((names[left], names[right]) for left, right in merges),
            unlearned_words=tuple(self._unlearned),
        )

    def _add_characters(self, characters: Sequence[str]) -> None:
        """Give characters that are spelled in bytes a token each."""
        for character in characters:
            new_id = self._table.add_name(character)
            self._id_of[character] = new_id
            self._characters[new_id] = character
            self._written["model"]["vocab"][character] = new_id
        if characters:
            self._tokenizer = Tokenizer.from_str(json.dumps(self._written))

    def _is_missing(self, character: str) -> bool:
        if not self._is_sentencepiece or character in self._id_of or unicodedata.category(character)[0] in "CZ":
            return False
        # A character that the tokenizer rewrites (a compatibility form, say) never comes up as itself.
        token_ids = self._tokenizer.encode(character, add_special_tokens=False).ids
        return tuple(token_ids[-len(character.encode()) :]) == self._byte_ids(character)

    def _byte_ids(self, character: str) -> tuple[int, ...]:
        return tuple(self._id_of[f"<0x{byte:02X}>"] for byte in character.encode("utf-8"))

    def _words(self, lines: Sequence[str]) -> Iterator[tuple[int, ...]]:
        """Yield the stretches of ids in which neighbours may be merged."""
        stretches = _sentencepiece_stretches if self._is_sentencepiece else _stretches
        for start in range(0, len(lines), _LINES_AT_ONCE):
            batch = list(lines[start : start + _LINES_AT_ONCE])
            for encoding in self._tokenizer.encode_batch(batch, add_special_tokens=False):
                yield from stretches(encoding)


def _lines(text: str) -> Iterator[str]:
    for line in text.splitlines(keepends=True):
        for start in range(0, len(line), _MAX_LINE_CHARACTERS):
            yield line[start : start + _MAX_LINE_CHARACTERS]


def _stretches(encoding: Encoding) -> Iterator[tuple[int, ...]]:
    """Yield the ids of each word, as the tokenizer itself cuts a text into words."""
    numbered = zip(encoding.word_ids, encoding.ids, strict=True)
    for _, word in itertools.groupby(numbered, key=lambda pair: pair[0]):
        yield tuple(token_id for _, token_id in word)


def _sentencepiece_stretches(encoding: Encoding) -> Iterator[tuple[int, ...]]:
    """Yield the ids of each word: it begins at a space or where letters meet anything else.

    Bytes and digits stand alone. A SentencePiece tokenizer does not say where it would not merge; these are the borders
    of its own training.
    """
    word: list[int] = []
    last = ""
    for token, token_id in zip(encoding.tokens, encoding.ids, strict=True):
        kind = _kind(token)
        if word and (token.startswith(SPACE_MARK) or (kind != last and last != SPACE_MARK) or kind == _ALONE):
            yield tuple(word)
            word = []
        word.append(token_id)
        last = kind
    if word:
        yield tuple(word)


def _kind(token: str) -> str:
    """Return what a token is made of: letters, marks, a space, or something that is never merged."""
    text = token.lstrip(SPACE_MARK)
    if not text:
        return SPACE_MARK
    if _BYTE_TOKEN.fullmatch(text) or any(character.isdigit() for character in text):
        return _ALONE
    return "letters" if all(unicodedata.category(character)[0] in "LM" for character in text) else "marks"
