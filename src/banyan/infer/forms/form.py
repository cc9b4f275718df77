"""An answer that must have a form: what may come next, and whether it is complete."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace
from functools import lru_cache

from torch import Tensor

from banyan.core.errors import InputError
from banyan.infer.forms.automaton import IMPOSSIBLE
from banyan.infer.forms.grammar import Grammar, GrammarBuilder
from banyan.infer.forms.json_schema import schema_grammar
from banyan.infer.forms.token_masks import TokenMasks
from banyan.infer.sampling import SamplingConfig

MAX_CHOICES = 1_000
MAX_CHOICE_BYTES = 16_384  # of all together


def form_of(sampling: SamplingConfig) -> Grammar | None:
    """Return the grammar of the form that an answer must have, or None if it is free.

    Raises: InputError for a form that is too large, or says something that cannot be promised.
    """
    if sampling.json_schema is not None:
        return _schema(sampling.json_schema)
    return _choices(sampling.choices) if sampling.choices else None


def with_space_before(grammar: Grammar) -> Grammar:
    """Return a grammar that lets one space stand before its texts, for models whose first word comes with one."""
    space, may_come = len(grammar.classes), -1 - len(grammar.rules)
    return replace(
        grammar,
        classes=(*grammar.classes, frozenset(b" ")),
        rules=(*grammar.rules, ((), (space,))),
        start=(may_come, *grammar.start),
        num_bytes=(*grammar.num_bytes, 0),
    )


@lru_cache(maxsize=64)
def _schema(text: str) -> Grammar:
    return schema_grammar(text)


@lru_cache(maxsize=64)
def _choices(texts: tuple[str, ...]) -> Grammar:
    if len(texts) > MAX_CHOICES or sum(len(text.encode("utf-8")) for text in texts) > MAX_CHOICE_BYTES:
        raise InputError(f"choices may be at most {MAX_CHOICES} texts of {MAX_CHOICE_BYTES} bytes together.")
    build = GrammarBuilder()
    return build.build((build.either(*(build.text(text) for text in texts)),))


class FormReader:
    """Follows one answer through its form."""

    def __init__(self, masks: TokenMasks, *, stop_ids: Set[int]) -> None:
        self._masks = masks
        self._state = masks.automaton.start
        self._stop_ids = sorted(stop_ids)

    @property
    def may_end(self) -> bool:
        """Whether the answer has its form already."""
        return self._masks.automaton.may_end(self._state)

    @property
    def is_complete(self) -> bool:
        """Whether nothing may follow."""
        return self._masks.automaton.must_end(self._state)

    def forbidden(self, *, num_left: int) -> Tensor:
        """Return the tokens that may not come, for an answer that has room for `num_left` more.

        Shapes: (V,), bool on the CPU. While it is possible, only tokens after which there is room for the nearest end,
        byte by byte; so an answer is cut off only if its room was too small from the beginning.
        """
        needs = self._masks.bytes_to_end(self._state)
        forbidden = needs > num_left - 1
        if not self.may_end and bool(forbidden.all()):
            forbidden = needs >= IMPOSSIBLE
        forbidden[self._stop_ids] = not self.may_end
        if bool(forbidden.all()):
            raise InputError("the answer cannot go on: no token of this model fits the form that was asked for.")
        return forbidden

    def read(self, raw: bytes) -> None:
        """Take the bytes of the token that was drawn."""
        self._state = self._masks.automaton.walk(self._state, raw)
