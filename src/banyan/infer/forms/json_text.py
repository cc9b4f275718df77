"""The texts of JSON: strings, numbers and values of any kind, as rules of a grammar.

No space but one after a comma or a colon may be written, so that no answer is lost in blanks. Numbers have at most 15
digits before and after the point and two in the exponent: every reader can hold them.
"""

from __future__ import annotations

import json

from banyan.infer.forms.grammar import GrammarBuilder, Sequence_, Symbol

MAX_DEPTH = 16  # of arrays and objects in each other
_DIGITS = b"0123456789"
_HEX = b"0123456789abcdefABCDEF"


class JsonTexts:
    """Adds what JSON is made of to a grammar."""

    def __init__(self, builder: GrammarBuilder) -> None:
        self._builder = builder
        self._anything: dict[int, Symbol] = {}  # by depth
        space = builder.optional(*builder.text(" "))
        self.comma: Sequence_ = (*builder.text(","), space)
        self.colon: Sequence_ = (*builder.text(":"), space)
        self.character = _character(builder)
        self.integer = _integer(builder)
        self.number = _number(builder)

    def constant(self, value: object) -> Sequence_:
        """Return exactly this value."""
        return self._builder.text(json.dumps(value, ensure_ascii=False, allow_nan=False))

    def string(self, *, low: int = 0, high: int | None = None) -> Sequence_:
        """Return a string of so many characters."""
        quote = self._builder.text('"')
        return (*quote, *self._builder.repeated((self.character,), low=low, high=high), *quote)

    def array(self, item: Sequence_, *, low: int = 0, high: int | None = None) -> Sequence_:
        """Return an array of so many items."""
        build = self._builder
        begin, end = build.text("["), build.text("]")
        if high == 0:
            return (*begin, *end)
        more = build.repeated((*self.comma, *item), low=max(0, low - 1), high=None if high is None else high - 1)
        some = (*item, *more)
        return (*begin, *(some if low else (build.optional(*some),)), *end)

    def mapping(self, value: Sequence_) -> Sequence_:
        """Return an object of any keys, with values of one kind."""
        build = self._builder
        member = (*self.string(), *self.colon, *value)
        members = build.optional(*member, build.any_number(*self.comma, *member))
        return (*build.text("{"), members, *build.text("}"))

    def record(self, members: list[tuple[str, Sequence_, bool]]) -> Sequence_:
        """Return an object of these keys in this order; each has a value, and may be left out if it says so."""
        build = self._builder
        first: Sequence_ = ()  # what may follow where nothing has been written yet
        later: Sequence_ = ()  # and where something has
        for name, value, is_required in reversed(members):
            pair = (*self.constant(name), *self.colon, *value)
            with_it, after_others = (*pair, *later), (*self.comma, *pair, *later)
            first = (build.either(with_it) if is_required else build.either(with_it, first),)
            later = (build.either(after_others) if is_required else build.either(after_others, later),)
        return (*build.text("{"), *first, *build.text("}"))

    def anything(self, *, depth: int = MAX_DEPTH) -> Symbol:
        """Return any value, with arrays and objects at most so deep in each other."""
        if depth not in self._anything:
            self._anything[depth] = self._any_value(depth=depth)
        return self._anything[depth]

    def _any_value(self, *, depth: int) -> Symbol:
        build = self._builder
        plain = [self.string(), (self.number,), *(build.text(word) for word in ("true", "false", "null"))]
        value = build.either(*plain)
        for _ in range(depth):
            value = build.either(*plain, self.array((value,)), self.mapping((value,)))
        return value


def _character(build: GrammarBuilder) -> Symbol:
    """Return one character of a string: whole UTF-8, or an escape that stands for a whole character."""
    hexadecimal = build.byte(_HEX)
    escape, letter_d = build.text("\\u"), build.byte(b"dD")
    own = build.either((build.byte(set(_HEX) - set(b"dD")), hexadecimal), (letter_d, build.byte(b"01234567")))
    first_half = (*escape, letter_d, build.byte(b"89abAB"), hexadecimal, hexadecimal)
    second_half = (*escape, letter_d, build.byte(b"cdefCDEF"), hexadecimal, hexadecimal)
    return build.either(
        (build.byte(set(range(0x20, 0x80)) - set(b'"\\')),),
        *_utf8(build),
        (*build.text("\\"), build.byte(b'"\\/bfnrt')),
        (*escape, own, hexadecimal, hexadecimal),
        (*first_half, *second_half),
    )


def _utf8(build: GrammarBuilder) -> list[Sequence_]:
    """Return the characters of more than one byte (Unicode 15, table 3-7)."""
    rows = [
        ((0xC2, 0xDF), 1, (0x80, 0xBF)),
        ((0xE0, 0xE0), 2, (0xA0, 0xBF)),
        ((0xE1, 0xEC), 2, (0x80, 0xBF)),
        ((0xED, 0xED), 2, (0x80, 0x9F)),
        ((0xEE, 0xEF), 2, (0x80, 0xBF)),
        ((0xF0, 0xF0), 3, (0x90, 0xBF)),
        ((0xF1, 0xF3), 3, (0x80, 0xBF)),
        ((0xF4, 0xF4), 3, (0x80, 0x8F)),
    ]
    tail = build.byte(range(0x80, 0xC0))
    return [
        (build.byte(range(lead[0], lead[1] + 1)), build.byte(range(second[0], second[1] + 1)), *[tail] * (num_more - 1))
        for lead, num_more, second in rows
    ]


def _integer(build: GrammarBuilder) -> Symbol:
    more = build.repeated((build.byte(_DIGITS),), low=0, high=14)
    return build.either(
        build.text("0"), (build.optional(*build.text("-")), build.byte(_DIGITS[1:]), *more)
    )  # no -0, which readers take for a float or for 0


def _number(build: GrammarBuilder) -> Symbol:
    digit = build.byte(_DIGITS)
    whole = build.either(build.text("0"), (build.byte(_DIGITS[1:]), *build.repeated((digit,), low=0, high=14)))
    fraction = build.optional(*build.text("."), *build.repeated((digit,), low=1, high=15))
    exponent = build.optional(
        build.byte(b"eE"), build.optional(build.byte(b"+-")), *build.repeated((digit,), low=1, high=2)
    )
    return build.either((build.optional(*build.text("-")), whole, fraction, exponent))
