"""Reads a JSON object the strict way: one meaning per body, nothing that a database or a model would trip over."""

from __future__ import annotations

import json
import math
from typing import Any

from banyan.serve.errors import ApiError, bad_request

MAX_DEPTH = 32  # brackets inside brackets
MAX_TEXT_BYTES = 65_536  # of one string
_TYPE_NAMES = {list: "array", str: "string", bool: "boolean", int: "number", float: "number", type(None): "null"}


def parse_object(raw: bytes) -> dict[str, Any]:
    """Parse a request body.

    Raises: ApiError 400 for anything but one JSON object with finite numbers, distinct keys and clean text.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise bad_request("invalid_text", f"request body is not valid UTF-8 at byte {error.start}") from error
    try:
        value = json.loads(text, object_pairs_hook=_distinct, parse_constant=float, parse_int=_integer)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        raise bad_request("invalid_json", f"request body is not valid JSON ({where})") from error
    except RecursionError as error:
        raise too_deep() from error
    if not isinstance(value, dict):
        raise bad_request("invalid_type", f"request body must be a JSON object, got {type_name(value)}")
    check_values(value)
    return value


def type_name(value: Any) -> str:
    """Return what JSON calls the type of a value."""
    return _TYPE_NAMES.get(type(value), "object")


def too_deep() -> ApiError:
    """Return the refusal of a body with too many brackets inside brackets."""
    return bad_request("too_deep", f"JSON nesting exceeds {MAX_DEPTH}")


def check_values(root: dict[str, Any]) -> None:
    """Walk all values, without recursion, and refuse deep nesting, non-finite numbers and unusable text."""
    stack: list[tuple[Any, str, int]] = [(root, "", 1)]
    while stack:
        value, path, depth = stack.pop()
        if depth > MAX_DEPTH and isinstance(value, dict | list):
            raise too_deep()
        if isinstance(value, dict):
            for key, item in value.items():
                check_text(key, "a key")
                stack.append((item, f"{path}.{key}" if path else key, depth + 1))
        elif isinstance(value, list):
            stack.extend((item, f"{path}[{index}]", depth + 1) for index, item in enumerate(value))
        elif isinstance(value, str):
            check_text(value, path)
        elif isinstance(value, float) and not math.isfinite(value):
            raise bad_request("invalid_number", f"{path} must be a finite number", param=path)


def check_text(text: str, path: str) -> None:
    """Refuse NUL and lone surrogates, which no database text can hold, and texts beyond the limit."""
    for character in ("\0", *_surrogates(text)):
        if character in text:
            name = f"U+{ord(character):04X}"
            raise bad_request("invalid_text", f"{path} contains an unsupported character {name}", param=path)
    if len(text) > MAX_TEXT_BYTES or len(text.encode()) > MAX_TEXT_BYTES:
        raise bad_request("out_of_range", f"{path} is longer than {MAX_TEXT_BYTES} bytes", param=path)


def _surrogates(text: str) -> tuple[str, ...]:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return (text[error.start],)
    return ()


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        seen: set[str] = set()
        double = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise bad_request("duplicate_key", f"duplicate key {json.dumps(double)[:70]}")
    return result


def _integer(digits: str) -> int | float:
    """Read an integer; one too long for any field becomes infinite, so that it is refused by name."""
    return int(digits) if len(digits) <= 40 else math.inf
