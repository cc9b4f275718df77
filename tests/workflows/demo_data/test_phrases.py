from __future__ import annotations

import random
from itertools import islice

from banyan.workflows.demo_data.phrases import LOCALES, bare_names, combined_phrases, known_codes, locale_of
from banyan.workflows.demo_data.splits import Split, split_of_entry


def test_every_phrase_is_said_in_every_language_in_its_own_words() -> None:
    for phrase in islice(combined_phrases(generator=random.Random(0)), 500):
        assert list(phrase.texts) == list(LOCALES)
        assert all(text == text.strip() and text for text in phrase.texts.values())
        assert not any(mark in text for text in phrase.texts.values() for mark in "\u00a0\u202f\u2009")
        assert "length-" not in phrase.texts["zh"]


def test_the_same_seed_draws_the_same_phrases() -> None:
    first, second = (list(islice(combined_phrases(generator=random.Random(5)), 50)) for _ in range(2))
    assert first == second


def test_relative_times_say_the_number_they_are_made_of() -> None:
    drawn = (p for p in combined_phrases(generator=random.Random(1)) if p.entry.startswith("relative"))
    for phrase in islice(drawn, 200):
        number = phrase.entry.split()[2].lstrip("-")
        assert all(number in text for text in phrase.texts.values())


def test_bare_names_are_those_of_cldr() -> None:
    names = {phrase.entry: phrase.texts for phrase in bare_names()}
    assert names["territories DE"] == {"en": "Germany", "de": "Deutschland", "zh": "德国"}
    assert names["languages de"]["en"] == "German"
    assert len(names) > 800


def test_phrases_show_no_name_that_is_held_out() -> None:
    for kind in ("languages", "territories"):
        codes = known_codes(kind, limit=50)
        assert len(codes) == 50
        assert all(split_of_entry(f"{kind} {code}") is Split.TRAIN for code in codes)
    held_out = {p.texts["zh"] for p in bare_names() if split_of_entry(p.entry) is not Split.TRAIN}
    shown = {getattr(locale_of("zh"), "territories")[code] for code in known_codes("territories", limit=80)}  # noqa: B009
    assert not held_out & shown
