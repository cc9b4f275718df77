"""What points to a person or opens a door is blotted out; everything else stays as it is."""

import time

import pytest

from banyan.store.redaction import BLOT, redact, redact_text

FOUND = [
    "ann.lee+x@mail.example.org",
    "+49 (30) 1234-5678",
    "0044 20 7946 0958",
    "13812345678",
    "138 1234 5678",
    "(415) 555-2671",
    "4111 1111 1111 1111",
    "DE89 3704 0044 0532 0130 00",
    "11010519491231002X",
    "192.168.10.254",
    "2001:db8::ff00:42:8329",
    "sk-abcdefghijklmnopqrstuv",
    "bny_abcdefghijklmnopqrstuv",
    "AKIAIOSFODNN7EXAMPLE",
]
LEFT = [
    "It is 12:30:45 on 2026-11-22.",
    "std::vector and a::b",
    "1234567890123456",  # no card: the last digit is wrong
    "version 1.2.3",
    "in 1998 there were 3,500,000",
    "北京市朝阳区三天前",
    "GB00 WEST EAST NORD SUED",
]


@pytest.mark.parametrize("secret", FOUND)
@pytest.mark.parametrize("around", ["{}", "It is {}.", "请联系{}。"])
def test_what_points_to_a_person_is_blotted_out_in_place(secret: str, around: str) -> None:
    redacted = redact_text(around.format(secret))
    assert redacted == around.format(BLOT * len(secret))


@pytest.mark.parametrize("text", LEFT)
def test_ordinary_words_and_numbers_stay(text: str) -> None:
    assert redact_text(text) == text


def test_values_are_redacted_wherever_they_lie() -> None:
    given = {"a@b.example": ["x", {"y": "a@b.example"}], "n": 7, "none": None}
    assert redact(given) == {"a@b.example": ["x", {"y": BLOT * 11}], "n": 7, "none": None}


@pytest.mark.parametrize(
    "hostile", ["1" * 60_000, "1 " * 30_000, "a@" * 30_000, "+1(" * 20_000, "AB12" * 15_000, ":" * 60_000]
)
def test_no_text_can_make_it_slow(hostile: str) -> None:
    before = time.process_time()
    redact_text(hostile)
    assert time.process_time() - before < 20, "this takes far below a second; a catastrophe takes hours"
