"""More tokens for a model that exists: a language, given words, special tokens, image codes.

Ids that exist keep their meaning; only image codes, which are the last ids, move up as a block. New merges stand behind
all old ones, so a text is cut as before and then some neighbouring pieces become one new token: with each new token
spelled out in its old pieces, the ids of any text are those of before.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from banyan.core.config import config
from banyan.core.errors import ConfigError
from banyan.model.transformer import Transformer
from banyan.tokenizers.banyan_layout import SPECIAL_TOKENS
from banyan.tokenizers.chat_formats import BANYAN
from banyan.tokenizers.foreign_bpe import token_names
from banyan.tokenizers.vocabulary import Vocabulary
from banyan.transfer.embedding_rows import RowPlan, with_rows
from banyan.transfer.grown_tokenizer import describe_tokenizer, grown_description, rebuild_vocabulary
from banyan.transfer.new_tokens import TextTokens, TokenLearner

_NOT_NEGATIVE = ("num_tokens", "num_image_codes", "grid_size")
_WORD = re.compile(r"[^\W_]+")


@config
class GrowConfig:
    """Which tokens a model gets on top of its own."""

    num_tokens: int = 0  # learned on `sources` at most; fewer where too few pairs of pieces come again
    sources: tuple[str, ...] = ()  # files, folders or names of the data catalog
    words: tuple[str, ...] = ()  # each becomes one token, alone and after a space
    words_file: str | None = None  # more of them, one a line
    special_tokens: tuple[str, ...] = ()  # never part of a text: only code puts them into a sequence
    task_tokens: bool = False  # for an imported model: the special tokens that Banyan's own chat and tasks use
    num_image_codes: int = 0  # in all; those that exist keep their meaning
    grid_size: int = 0  # rows = columns of a picture's codes; 0: as it is
    min_frequency: int = 2  # times a pair of pieces must be seen
    max_training_bytes: int = 8_000_000  # of text that is read
    seed: int = 0  # of the rows of image codes

    def __post_init__(self) -> None:
        for name in _NOT_NEGATIVE:
            if getattr(self, name) < 0:
                raise ConfigError(f"grow_vocabulary.{name}={getattr(self, name)} must not be negative.")
        for name in ("min_frequency", "max_training_bytes"):
            if getattr(self, name) < 1:
                raise ConfigError(f"grow_vocabulary.{name}={getattr(self, name)} must be at least 1.")
        if bool(self.num_tokens) != bool(self.sources):
            raise ConfigError(
                f"grow_vocabulary.num_tokens={self.num_tokens} with {len(self.sources)} sources: new tokens are "
                "learned on text, and text gives new tokens.",
                hint="give both num_tokens and sources, or neither",
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class GrownVocabulary:
    """A vocabulary with more tokens, and what the new ones are made of."""

    vocabulary: Vocabulary
    pieces: Mapping[int, tuple[int, ...]]  # the old ids that each new token's row is the mean of; none: of all rows
    names: Mapping[int, str]  # of the new tokens, as tokenizer.json writes them
    unlearned_words: tuple[str, ...]  # that the tokenizer always cuts in two, so no merge can join them


def grow(
    model: Transformer,
    vocabulary: Vocabulary,
    config: GrowConfig,
    *,
    texts: Iterable[str] = (),
    words: Iterable[str] = (),
) -> tuple[Transformer, GrownVocabulary]:
    """Return a model and its vocabulary with the tokens of a config; what was given stays as it is.

    See `grow_vocabulary` and `grow_rows`, its two steps.
    """
    grown = grow_vocabulary(vocabulary, config, texts=texts, words=words)
    return grow_rows(model, grown, config), grown


def grow_vocabulary(
    vocabulary: Vocabulary, config: GrowConfig, *, texts: Iterable[str] = (), words: Iterable[str] = ()
) -> GrownVocabulary:
    """Return a vocabulary with the tokens of a config.

    `texts` are those of `config.sources`, and `words` those of `config.words_file`, both read by the caller.
    Raises: ConfigError if a special token exists already, or image codes are taken away.
    """
    if 0 < config.num_image_codes < vocabulary.num_image_codes:
        raise ConfigError(
            f"grow_vocabulary.num_image_codes={config.num_image_codes} is fewer than the model has "
            f"({vocabulary.num_image_codes}); a vocabulary grows."
        )
    description = describe_tokenizer(vocabulary)
    first_id = 1 + max(token_names(description))
    text_tokens = _learn(vocabulary, description, config, texts=texts, words=words, first_id=first_id)
    special = dict(enumerate(_special_names(description, config), start=first_id + len(text_tokens.names)))
    grown = rebuild_vocabulary(
        vocabulary,
        grown_description(description, names=text_tokens.names, merges=text_tokens.merges, special_tokens=special),
        chat=BANYAN.name if config.task_tokens else None,
        num_image_codes=config.num_image_codes or vocabulary.num_image_codes,
    )
    return GrownVocabulary(
        vocabulary=grown,
        pieces={**text_tokens.pieces, **_special_pieces(vocabulary, special)},
        names={**text_tokens.names, **special},
        unlearned_words=text_tokens.unlearned_words,
    )


def grow_rows(model: Transformer, grown: GrownVocabulary, config: GrowConfig) -> Transformer:
    """Return a model with rows for a grown vocabulary; the trunk's tensors are shared. New rows: see `with_rows`.

    Raises: ConfigError if image codes come to a model that has no grid of them.
    """
    num_codes = grown.vocabulary.num_image_codes
    grid_size = config.grid_size or model.config.grid_size
    if num_codes and not grid_size:
        raise ConfigError(
            f"grow_vocabulary.num_image_codes={num_codes} needs grow_vocabulary.grid_size, the rows and columns of a "
            "picture: the model draws none yet."
        )
    kept: dict[int, tuple[int, ...]] = {token_id: (token_id,) for token_id in range(model.config.text_vocab_size)}
    plan = RowPlan(
        text_size=max(grown.vocabulary.text_size, model.config.text_vocab_size),
        pieces={**kept, **grown.pieces},
        num_image_codes=num_codes,
        grid_size=grid_size,
    )
    return with_rows(model, plan, seed=config.seed)


def _learn(
    vocabulary: Vocabulary,
    description: Mapping[str, Any],
    config: GrowConfig,
    *,
    texts: Iterable[str],
    words: Iterable[str],
    first_id: int,
) -> TextTokens:
    learner = TokenLearner(vocabulary.text.to_json(), description, first_id=first_id)
    if config.num_tokens:
        read = _first_bytes(texts, config.max_training_bytes)
        learner.learn(read, num_tokens=config.num_tokens, min_frequency=config.min_frequency)
    for word in (*config.words, *words):
        learner.add_word(word)
    return learner.result()


def _first_bytes(texts: Iterable[str], limit: int) -> Iterator[str]:
    for text in texts:
        if limit <= 0:
            return
        yield text[:limit]
        limit -= len(text.encode("utf-8"))


def _special_names(description: Mapping[str, Any], config: GrowConfig) -> list[str]:
    """Return the special tokens to add; those of Banyan's own that exist stay what they are."""
    known = set(token_names(description).values())
    own = [name for name in SPECIAL_TOKENS if name not in known] if config.task_tokens else []
    return list(dict.fromkeys([*own, *config.special_tokens]))


def _special_pieces(vocabulary: Vocabulary, special: Mapping[int, str]) -> dict[int, tuple[int, ...]]:
    """Make each special token of the words in its name: <|user|> begins where the word " user" stands.

    Those that begin and end texts begin as the tokens that did so before.
    """
    same = {"<|bos|>": vocabulary.bos_id, "<|eos|>": vocabulary.eos_id, "<|end|>": vocabulary.eos_id}
    found = {}
    for token_id, name in special.items():
        written = " ".join(_WORD.findall(name))
        pieces = (same[name],) if name in same else tuple(vocabulary.encode(f" {written}") if written else ())
        if pieces:
            found[token_id] = pieces
    return found
