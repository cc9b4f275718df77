import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from banyan.store.codec import (
    canonical_json,
    pack_ids,
    pack_json,
    pack_text,
    strings_in,
    unpack_ids,
    unpack_json,
    unpack_text,
)

TEXTS = st.text(st.characters())  # lone surrogates included
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(TEXTS)
def test_a_text_survives_packing(text: str) -> None:
    assert unpack_text(pack_text(text)) == text


@given(VALUES)
def test_a_json_value_survives_packing(value: object) -> None:
    assert unpack_json(pack_json(value)) == value


@given(st.lists(st.integers(-(2**31), 2**31 - 1)))
def test_token_ids_survive_packing(token_ids: list[int]) -> None:
    assert unpack_ids(pack_ids(token_ids)) == tuple(token_ids)


def test_the_order_of_keys_is_kept_in_a_body_and_fixed_in_canonical_form() -> None:
    assert list(unpack_json(pack_json({"b": 1, "a": 2}))) == ["b", "a"]
    assert canonical_json({"b": 1, "a": "嗨"}) == '{"a":"\\u55e8","b":1}'


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), b"bytes"])
def test_what_json_does_not_know_is_refused(value: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        pack_json({"x": value})


def test_strings_are_found_at_every_depth() -> None:
    value = json.loads('{"messages": [{"role": "user", "content": [{"text": "a"}, 1, null]}], "b": "c"}')
    assert list(strings_in(value)) == ["user", "a", "c"]
