import pytest

from banyan.serve.errors import ApiError
from banyan.serve.strict_json import MAX_DEPTH, MAX_TEXT_BYTES, parse_object


def refusal(raw: bytes) -> ApiError:
    with pytest.raises(ApiError) as caught:
        parse_object(raw)
    assert caught.value.status == 400
    return caught.value


def nested(depth: int) -> bytes:
    return b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        (b'{"a": 1,}', "invalid_json"),
        (b"\xef\xbb\xbf{}", "invalid_json"),
        (b"[]", "invalid_type"),
        (b'"text"', "invalid_type"),
        (b"42", "invalid_type"),
        (b"null", "invalid_type"),
        (b'{"a":1,"a":1}', "duplicate_key"),
        (b'{"a":[{"b":1,"b":2}]}', "duplicate_key"),
        (nested(MAX_DEPTH + 1), "too_deep"),
        (nested(100_000), "too_deep"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "too_deep"),
        (b'{"t":NaN}', "invalid_number"),
        (b'{"t":-Infinity}', "invalid_number"),
        (b'{"t":1e999}', "invalid_number"),
        (b'{"t":' + b"9" * 400 + b"}", "invalid_number"),
        (b'{"a":"\\u0000"}', "invalid_text"),
        (b'{"\\u0000":1}', "invalid_text"),
        (b'{"a":["\\ud800"]}', "invalid_text"),
        (b'{"a":"\xff"}', "invalid_text"),
        (b'{"a":"' + b"x" * (MAX_TEXT_BYTES + 1) + b'"}', "out_of_range"),
    ],
)
def test_a_body_with_a_doubtful_meaning_is_refused(raw: bytes, code: str) -> None:
    assert refusal(raw).code == code


def test_a_refusal_names_the_place_of_the_bad_character() -> None:
    error = refusal(b'{"messages":[{"content":"a\\u0000b"}]}')
    assert error.param == "messages[0].content"
    assert error.message == "messages[0].content contains an unsupported character U+0000"


def test_a_refusal_names_the_line_of_broken_json() -> None:
    assert refusal(b'{\n"a" 1}').message == "request body is not valid JSON (line 2 column 5)"


def test_everything_else_is_read_as_it_is() -> None:
    raw = '{"a":[1,2.5,true,null,"榕树 🌳"],"b":{"c":-3}}'.encode()
    assert parse_object(raw) == {"a": [1, 2.5, True, None, "榕树 🌳"], "b": {"c": -3}}
    assert parse_object(nested(MAX_DEPTH))
