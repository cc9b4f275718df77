"""Cleaning changes what nobody sees and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from banyan.core.errors import ConfigError
from banyan.data.cleaning import CleaningConfig, clean_text, text_fingerprint


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_cleaning_twice_changes_nothing_more(text: str) -> None:
    assert clean_text(clean_text(text)) == clean_text(text)


@pytest.mark.parametrize(
    ("dirty", "clean"),
    [
        ("a\r\nb\rc", "a\nb\nc"),
        ("soft\u00adhyphen\u200b\ufeff\x00", "softhyphen"),
        ("cafe\u0301", "café"),
        ("a   \n\n\n\n\n\nb\t\n", "a\n\n\nb"),
        ("\n\n    indented = 1\n", "    indented = 1"),
        ("独木成林。", "独木成林。"),
    ],
)
def test_only_what_nobody_sees_is_changed(dirty: str, clean: str) -> None:
    assert clean_text(dirty) == clean


def test_every_change_can_be_switched_off() -> None:
    off = CleaningConfig(unicode_form=None, drop_invisible=False, tidy_space=False)
    text = " cafe\u0301 \u200b \n\n\n\n\n"
    assert clean_text(text, off) == text


def test_texts_that_differ_only_in_case_and_spacing_share_a_fingerprint() -> None:
    assert text_fingerprint("Hello,\n World") == text_fingerprint("hello,  world ")
    assert text_fingerprint("hello world") != text_fingerprint("hello, world")


def test_a_minimum_below_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="min_characters=0"):
        CleaningConfig(min_characters=0)
