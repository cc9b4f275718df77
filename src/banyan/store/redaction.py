"""Blots out what points to a person or opens a door: addresses, numbers of phones, cards and accounts, secrets.

Every character of such a place becomes █, so that offsets of entities and spans still fit. It is a sieve and no
promise: names and streets pass through it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any

BLOT = "█"
_LETTER_VALUES = {chr(ord("A") + index): str(10 + index) for index in range(26)}
_ID_CARD_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_ID_CARD_SIGNS = "10X98765432"


def redact_text(text: str) -> str:
    """Return a text of the same length with every such place blotted out."""
    for pattern, is_meant in _RULES:
        text = pattern.sub(lambda match, test=is_meant: _blot(match, test), text)  # type: ignore[misc]
    return text


def redact(value: Any) -> Any:
    """Return a JSON value with every text inside it redacted; keys stay as they are."""
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, Mapping):
        return {key: redact(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact(item) for item in value]
    return value


def _blot(match: re.Match[str], is_meant: Callable[[str], bool]) -> str:
    found = match[0]
    return BLOT * len(found) if is_meant(found) else found


def _always(_: str) -> bool:
    return True


def _digits(text: str) -> list[int]:
    return [int(character) for character in text if character.isdecimal()]


def _is_card(text: str) -> bool:
    """Source: the Luhn formula of ISO/IEC 7812."""
    doubled = [digit * (1 + index % 2) for index, digit in enumerate(reversed(_digits(text)))]
    return sum(number // 10 + number % 10 for number in doubled) % 10 == 0


def _is_account(text: str) -> bool:
    """Source: ISO 13616, the remainder by 97."""
    plain = text.replace(" ", "").upper()
    if not 15 <= len(plain) <= 34:
        return False
    turned = "".join(_LETTER_VALUES.get(character, character) for character in plain[4:] + plain[:4])
    return int(turned) % 97 == 1


def _is_identity_card(text: str) -> bool:
    """Source: GB 11643, the last sign of a Chinese identity number."""
    total = sum(weight * digit for weight, digit in zip(_ID_CARD_WEIGHTS, _digits(text[:17]), strict=True))
    return _ID_CARD_SIGNS[total % 11] == text[17].upper()


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


# Bounded repetitions only: a text cannot make these slow. ASCII: a Chinese sign before a place is its border.
_PATTERNS: tuple[tuple[str, Callable[[str], bool]], ...] = (
    (r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[A-Za-z0-9+/=\s]{0,8192}(?:-----END [A-Z ]{0,30}-----)?", _always),
    (r"\beyJ[\w-]{8,2048}\.[\w-]{8,4096}\.[\w-]{8,2048}", _always),  # JSON web tokens
    (r"\b(?:sk|pk|rk|bny|hf|ghp|gho|ghs|glpat|npm|pypi|xox[abprs])[-_][\w-]{16,512}", _always),
    (r"\b(?:AKIA|ASIA|AIza)[\w-]{16,64}", _always),
    (r"(?<=[Bb]earer )[\w.~+/=-]{16,4096}", _always),
    (r"[\w.%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}", _always),
    (r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b", _is_account),
    (r"(?<!\d)\d{17}[\dXx](?!\w)", _is_identity_card),
    (r"(?<!\d)\d(?:[ -]?\d){12,18}(?!\d)", _is_card),
    (r"(?<![\w:.])[0-9A-Fa-f:.]{6,44}[0-9A-Fa-f](?![\w:])", _is_address),
    (r"(?<![\w+])(?:\+|00)\d(?:[ ().-]{0,2}\d){6,14}(?!\d)", _always),  # a phone abroad
    (r"(?<!\d)1[3-9]\d(?:[ -]?\d{4}){2}(?!\d)", _always),  # a mobile phone in China
    (r"(?<!\d)(?:\(\d{3,4}\) ?|\d{3,4}[ .-])\d{3,4}[ .-]\d{4}(?!\d)", _always),
)
_RULES = tuple((re.compile(pattern, re.ASCII), is_meant) for pattern, is_meant in _PATTERNS)
