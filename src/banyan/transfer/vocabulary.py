"""More tokens for a model that exists: a language, given words, special tokens, image codes.

Ids that exist keep their meaning; only image codes, which are the last ids, move up as a block. New merges stand behind
all old ones, so a text is cut as before and then some neighbouring pieces become one new token: with each new token
spelled out in its old pieces, the ids of any text are those of before.
"""

from __future__ import annotations

from banyan.core.config import config
from banyan.core.errors import ConfigError

_NOT_NEGATIVE = ("num_tokens", "num_image_codes", "grid_size")


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
    max_training_bytes: int = 16_000_000  # of text that is read
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
