"""The `augment:` key of a task: how its examples are worded otherwise while they are learned."""

from __future__ import annotations

from banyan.core.config import config
from banyan.core.errors import ConfigError

NOISE = ("word_dropout", "word_replacement", "insert", "delete", "swap")
METHODS = (*NOISE, "synonyms", "sentence_permutation", "back_translation")
NEEDS_MODEL = ("synonyms", "back_translation")


@config
class Augmentation:
    """What is changed in an example, drawn anew each time that it is learned. All methods are off unless given."""

    share: float = 0.5  # of the times that an example is learned it is changed; the others it stays as it is
    word_dropout: float = 0.0  # part of the words that are hidden behind a blank
    word_replacement: float = 0.0  # part of the words that another word of the training texts takes the place of
    insert: float = 0.0  # part of the words before which another word of the training texts is put
    delete: float = 0.0  # part of the words that are left out
    swap: float = 0.0  # part of the words that change places with the next one
    synonyms: float = 0.0  # part of the words that a neighbour in the model's embeddings takes the place of
    sentence_permutation: float = 0.0  # probability that the sentences come in another order
    back_translation: float = 0.0  # probability that the text is one that the model has translated
    model: str | None = None  # that is asked for neighbours and translations; null: transfer.parent
    pivot: str | None = None  # back-translation of a text that is no translation: such as en>de, and back
    translator: str | None = None  # which translation task of the model; null: its first
    max_translated: int = 1000  # texts that are translated, once, before the first step
    dictionary: str | None = None  # a file of words, one a line: Chinese is changed by these; null: by character

    def __post_init__(self) -> None:
        for name in ("share", *METHODS):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"augment.{name}={getattr(self, name)} must lie between 0 (off) and 1.")
        if not self.methods or not self.share:
            raise ConfigError(
                f"augment changes nothing: share={self.share}, and the methods are {', '.join(self.methods) or 'off'}.",
                hint=f"give one of {', '.join(METHODS)}, or leave augment out",
            )
        if self.max_translated < 1:
            raise ConfigError(f"augment.max_translated={self.max_translated} must be 1 or more.")
        if self.pivot is not None and (self.pivot.count(">") != 1 or not all(self.pivot.split(">"))):
            raise ConfigError(
                f"augment.pivot={self.pivot!r} names no direction.", hint="the text's language, >, another: en>de"
            )

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that are on."""
        return tuple(name for name in METHODS if getattr(self, name))

    @property
    def needs_model(self) -> bool:
        """Whether a model is asked for neighbours or translations."""
        return any(method in NEEDS_MODEL for method in self.methods)


def check_augmentation(augment: Augmentation, *, task: str, kind: str, allowed: frozenset[str]) -> None:
    """Make sure that every method leaves the answers of a kind right.

    Raises: ConfigError naming the first that does not.
    """
    if not allowed:
        raise ConfigError(f"task {task}: examples of kind {kind} cannot be augmented.", hint="leave augment out")
    if refused := next((method for method in augment.methods if method not in allowed), None):
        raise ConfigError(
            f"task {task}: augment.{refused}={getattr(augment, refused)} could make answers of a {kind} task wrong.",
            hint=f"for {kind} there are {', '.join(method for method in METHODS if method in allowed)}",
        )
