"""Phrases that CLDR can say in every language: units, dates, relative times, money, lists, languages, bare names."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from typing import Literal, TypeAlias

from babel import Locale
from babel.dates import format_date, format_interval, format_skeleton, format_timedelta
from babel.lists import format_list
from babel.numbers import format_currency, format_percent
from babel.units import format_unit

from banyan.workflows.demo_data.hashing import stable_hash
from banyan.workflows.demo_data.splits import Split, split_of_entry

LOCALES: dict[str, str] = {"en": "en", "de": "de", "zh": "zh_Hans"}  # our language code → CLDR's

_UNIT_ID = re.compile(r"[a-z]+-[a-z]+")  # what babel writes where a locale lacks a pattern
_SPACES = str.maketrans(dict.fromkeys("\u00a0\u2009\u202f", " "))  # narrow and unbreakable spaces
_FIRST_DAY, _NUM_DAYS = date(1950, 1, 1), 100 * 365
_CURRENCIES = (
    *("EUR", "USD", "GBP", "CHF", "JPY", "CNY", "INR", "BRL"),
    *("CAD", "SEK", "KRW", "TRY", "PLN", "ZAR", "MXN", "NOK"),
)
_QUANTITIES = ("area", "digital", "duration", "length", "mass", "power", "speed", "temperature")
_NUM_LANGUAGES, _NUM_TERRITORIES = 50, 80  # in phrases: few enough to be met several times each

TimeUnit: TypeAlias = Literal["year", "month", "week", "day", "hour", "minute", "second"]
_HOUR, _DAY = 3_600, 86_400
_SECONDS_OF: dict[TimeUnit, int] = {
    **{"second": 1, "minute": 60, "hour": _HOUR},
    **{"day": _DAY, "week": 7 * _DAY, "month": 30 * _DAY, "year": 365 * _DAY},  # as long as babel counts them
}
_SMALLER_UNITS: tuple[tuple[TimeUnit, TimeUnit], ...] = (
    ("year", "month"),
    ("week", "day"),
    ("day", "hour"),
    ("hour", "minute"),
    ("minute", "second"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Phrase:
    """One meaning, and how each language says it."""

    entry: str  # what it is made of; the same entry is never in two splits
    group: str  # "names", which are scored apart; empty for phrases
    texts: dict[str, str]  # language code → text

    @property
    def is_usable(self) -> bool:
        """Does every language have its own words for it?"""
        return all(text.strip() and not _UNIT_ID.search(text) for text in self.texts.values())


Saying: TypeAlias = Callable[[Locale], str]  # one meaning, to be said in a locale
Drawn: TypeAlias = tuple[str, Saying]  # with the entry it is known by


@cache
def locale_of(language: str) -> Locale:
    """Return the CLDR locale of one of our languages."""
    return Locale.parse(LOCALES[language])


def _phrase(entry: str, saying: Saying, *, group: str) -> Phrase:
    texts = {language: saying(locale_of(language)).translate(_SPACES) for language in LOCALES}
    return Phrase(entry=entry, group=group, texts=texts)


def combined_phrases(*, generator: random.Random) -> Iterator[Phrase]:
    """Draw phrases without end, each kind in its turn; parts repeat, and so may whole phrases."""
    while True:
        for draw in _WAYS:
            phrase = _phrase(*draw(generator), group="")
            if phrase.is_usable:
                yield phrase


@cache
def bare_names() -> tuple[Phrase, ...]:
    """Return the names of languages, territories and currencies that every language has."""
    found = [
        _phrase(f"{kind} {code}", _name_saying(kind, code), group="names")
        for kind in ("languages", "territories", "currencies")
        for code in sorted(getattr(locale_of("en"), kind))
        if all(code in getattr(locale_of(language), kind) for language in LOCALES)
    ]
    return tuple(phrase for phrase in found if phrase.is_usable)


def _name_saying(kind: str, code: str) -> Saying:
    return lambda locale: str(getattr(locale, kind)[code])


@cache
def known_codes(kind: str, *, limit: int) -> tuple[str, ...]:
    """Return some two-letter codes whose bare names are learned: a phrase never shows a held-out name."""
    entries = [phrase.entry for phrase in bare_names() if phrase.entry.startswith(f"{kind} ")]
    codes = [entry.split()[1] for entry in sorted(entries, key=stable_hash) if split_of_entry(entry) is Split.TRAIN]
    return tuple(code for code in codes if len(code) == 2)[:limit]


def _languages() -> tuple[str, ...]:
    return known_codes("languages", limit=_NUM_LANGUAGES)


def _territories() -> tuple[str, ...]:
    return known_codes("territories", limit=_NUM_TERRITORIES)


@cache
def _unit_ids() -> tuple[str, ...]:
    everywhere = (set(locale_of(language).unit_display_names) for language in LOCALES)
    units = sorted(set.intersection(*everywhere))
    return tuple(unit for unit in units if unit.partition("-")[0] in _QUANTITIES)


def _number(generator: random.Random) -> int | float:
    ways = (generator.randint(1, 2), generator.randint(1, 30), generator.randint(1, 999), generator.randint(1, 99) / 10)
    return generator.choice(ways)


def _day(generator: random.Random) -> date:
    return _FIRST_DAY + timedelta(days=generator.randrange(_NUM_DAYS))


def _unit_in(locale: Locale, unit: str, number: float) -> str:
    long = format_unit(number, unit, length="long", locale=locale)
    return format_unit(number, unit, length="short", locale=locale) if unit in long else long


def _unit(generator: random.Random) -> Drawn:
    unit, number = generator.choice(_unit_ids()), _number(generator)
    return f"unit {unit} {number}", lambda locale: _unit_in(locale, unit, number)


def _date(generator: random.Random) -> Drawn:
    lengths: tuple[Literal["long", "full", "medium"], ...] = ("long", "full", "medium")
    length, day = generator.choice(lengths), _day(generator)
    return f"date {length} {day}", lambda locale: format_date(day, length, locale=locale)


def _relative_time(generator: random.Random) -> Drawn:
    number, unit = generator.choice((-1, 1)) * generator.randint(1, 60), generator.choice(tuple(_SECONDS_OF))
    difference = timedelta(seconds=number * _SECONDS_OF[unit])
    return f"relative time {number} {unit}", lambda locale: format_timedelta(
        difference, granularity=unit, threshold=10_000, add_direction=True, locale=locale
    )


def _money(generator: random.Random) -> Drawn:
    amount, currency = _number(generator), generator.choice(_CURRENCIES)
    return f"money {amount} {currency}", lambda locale: format_currency(
        amount, currency, locale=locale, format_type="name"
    )


def _language_of_territory(generator: random.Random) -> Drawn:
    language, territory = generator.choice(_languages()), generator.choice(_territories())
    return (
        f"language {language} {territory}",
        lambda locale: f"{locale.languages[language]} ({locale.territories[territory]})",
    )


def _list_of_territories(generator: random.Random) -> Drawn:
    styles: tuple[Literal["standard", "or"], ...] = ("standard", "or")
    style, codes = generator.choice(styles), generator.sample(_territories(), generator.choice((2, 2, 3)))
    return f"list {style} {codes}", lambda locale: format_list(
        [locale.territories[code] for code in codes], style=style, locale=locale
    )


def _duration(generator: random.Random) -> Drawn:
    larger, smaller = generator.choice(_SMALLER_UNITS)
    first, second = generator.randint(1, 12), generator.randint(1, 59)

    def saying(locale: Locale) -> str:
        parts = [_unit_in(locale, f"duration-{larger}", first), _unit_in(locale, f"duration-{smaller}", second)]
        return format_list(parts, style="unit", locale=locale)

    return f"duration {first} {larger} {second} {smaller}", saying


def _interval(generator: random.Random) -> Drawn:
    first = _day(generator)
    last = first + timedelta(days=generator.randint(1, 60))
    return f"interval {first} {last}", lambda locale: format_interval(first, last, "yMMMd", locale=locale)


def _month_or_quarter(generator: random.Random) -> Drawn:
    skeleton, day = generator.choice(("yQQQQ", "yMMMM")), _day(generator).replace(day=1)
    return f"{skeleton} {day}", lambda locale: format_skeleton(skeleton, day, locale=locale)


def _percent(generator: random.Random) -> Drawn:
    share = generator.randint(1, 99_999) / 100_000
    return f"percent {share}", lambda locale: format_percent(share, "#,##0.0%", locale=locale)


_RICH_WAYS = (_unit, _date, _relative_time, _money, _language_of_territory, _list_of_territories)
_PLAIN_WAYS = (_duration, _interval, _month_or_quarter, _percent)
# The ways with the most words to learn come twice as often.
_WAYS: tuple[Callable[[random.Random], Drawn], ...] = (*_RICH_WAYS, *_PLAIN_WAYS, *_RICH_WAYS)
