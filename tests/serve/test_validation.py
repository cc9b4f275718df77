from typing import Any

import pytest

from banyan.serve.errors import ApiError
from banyan.serve.schemas import ChatRequest, CompletionRequest, FeedbackRequest, ImageRequest, TaskRequest
from banyan.serve.validation import validate

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}


def refusal(schema: Any, body: dict[str, Any]) -> ApiError:
    with pytest.raises(ApiError) as caught:
        validate(schema, body)
    assert caught.value.status == 400
    return caught.value


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"temprature": 1}, "unknown_field", 'unknown field "temprature" (did you mean "temperature"?)'),
        ({"zzz": 1}, "unknown_field", 'unknown field "zzz"'),
        ({"temperature": -1}, "out_of_range", "temperature must be a finite number between 0 and 2, got -1"),
        ({"temperature": True}, "invalid_type", "temperature must be a finite number between 0 and 2, got true"),
        ({"top_p": 0}, "out_of_range", "top_p must be a finite number above 0 and at most 1, got 0"),
        ({"n": 0}, "out_of_range", "n must be an integer between 1 and 8, got 0"),
        ({"n": 9}, "out_of_range", "n must be an integer between 1 and 8, got 9"),
        ({"max_tokens": -5}, "out_of_range", None),
        ({"max_tokens": 10**9}, "out_of_range", None),
        ({"max_tokens": "5"}, "invalid_type", None),
        ({"max_tokens": 1.5}, "invalid_type", None),
        ({"max_tokens": True}, "invalid_type", None),
        ({"seed": 2**63}, "out_of_range", None),
        ({"stop": ["a"] * 5}, "out_of_range", "stop accepts at most 4 strings of 1-64 characters"),
        ({"stop": ""}, "out_of_range", "stop accepts at most 4 strings of 1-64 characters"),
        ({"stop": "x" * 65}, "out_of_range", "stop accepts at most 4 strings of 1-64 characters"),
        ({"stop": [1]}, "invalid_type", None),
        ({"stream": "yes"}, "invalid_type", 'stream must be true or false, got "yes"'),
        ({"stream_options": {"include_usge": True}}, "unknown_field", None),
        ({"top_logprobs": 21}, "out_of_range", "top_logprobs must be an integer between 0 and 20, got 21"),
        ({"tools": [{}]}, "tools_not_supported", "tools cannot be used: this model was not trained for tools"),
        ({"response_format": {"type": "regex"}}, "unsupported_value", None),
        ({"response_format": {"type": "json_schema"}}, "invalid_schema", None),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "string", "pattern": "a"}}}},
            "invalid_schema",
            'response_format cannot be kept to: the keyword "pattern" is not supported here.',
        ),
        ({"choices": ["a", "a"]}, "invalid_value", None),
        ({"choices": []}, "out_of_range", "choices must have 1 to 1000 texts, got 0"),
        ({"timeout_seconds": 0}, "out_of_range", None),
        ({"logit_bias": {"5": 101}}, "out_of_range", None),
        ({"logit_bias": {"5": True}}, "invalid_type", None),
        ({"logit_bias": [[5, 1]]}, "invalid_type", None),
        ({"logit_bias": {"05": 1}}, "invalid_value", None),
        ({"logit_bias": {str(number): 1 for number in range(301)}}, "out_of_range", None),
        ({"top_logprobs": 0}, "invalid_value", "top_logprobs needs logprobs=true"),
        ({"messages": []}, "empty_input", "messages must not be empty"),
        ({"messages": "hi"}, "invalid_type", "messages must be an array, got a string"),
        ({"messages": {"a": "hi"}}, "invalid_type", "messages must be an array, got an object"),
        ({"messages": [3]}, "invalid_type", "messages[0] must be an object, got 3"),
        ({"messages": [{"role": "judge", "content": ""}]}, "invalid_value", None),
        ({"messages": [{"role": "user"}]}, "missing_field", '"messages[0].content" is required'),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "invalid_value", None),
        ({"messages": [{"role": "user", "contnt": "x"}]}, "unknown_field", None),
        ({"model": ""}, "empty_input", "model must not be empty"),
        ({"model": 3}, "invalid_type", "model must be a string, got 3"),
    ],
)
def test_a_wrong_chat_field_is_named_with_its_rule(change: dict[str, Any], code: str, message: str | None) -> None:
    error = refusal(ChatRequest, {**CHAT, **change})
    assert error.code == code
    if message is not None:
        assert error.message == message


def test_an_unknown_field_is_reported_before_what_it_caused() -> None:
    assert refusal(ChatRequest, {"model": "m", "mesages": []}).code == "unknown_field"


@pytest.mark.parametrize("missing", ["model", "messages"])
def test_a_missing_field_is_named(missing: str) -> None:
    body = {key: value for key, value in CHAT.items() if key != missing}
    assert refusal(ChatRequest, body).message == f'"{missing}" is required'


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("text", ("text",)),
        (["a", "b"], ("a", "b")),
        ([1, 2], ((1, 2),)),
        ([[1], [2, 3]], ((1,), (2, 3))),
    ],
)
def test_a_completion_prompt_may_be_written_in_four_ways(prompt: Any, expected: Any) -> None:
    assert validate(CompletionRequest, {"model": "m", "prompt": prompt}).prompt == expected


@pytest.mark.parametrize(
    ("prompt", "code"),
    [
        ("", "empty_input"),
        ([], "empty_input"),
        (["a", ""], "empty_input"),
        ([True], "invalid_value"),
        ([[1], [2.5]], "invalid_value"),
        ([-1], "invalid_value"),
        (3, "invalid_type"),
        ({"a": 1}, "invalid_type"),
        (["x"] * 33, "out_of_range"),
    ],
)
def test_a_completion_prompt_that_is_none_of_them_is_refused(prompt: Any, code: str) -> None:
    assert refusal(CompletionRequest, {"model": "m", "prompt": prompt}).code == code


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "missing_field"),
        ({"input": "a", "inputs": ["b"]}, "missing_field"),
        ({"input": "  "}, "empty_input"),
        ({"input": {}}, "empty_input"),
        ({"input": {"question": " ", "context": "an oak"}}, "empty_input"),
        ({"inputs": [{"question": "which?", "context": ""}]}, "empty_input"),
        ({"input": 3}, "invalid_type"),
        ({"inputs": []}, "empty_input"),
        ({"inputs": ["a", 3]}, "invalid_type"),
        ({"inputs": ["a"] * 33}, "out_of_range"),
    ],
)
def test_a_task_request_has_one_input_or_some(body: dict[str, Any], code: str) -> None:
    assert refusal(TaskRequest, body).code == code


def test_a_picture_may_be_shown_without_a_word() -> None:
    shown = {"image": "data:image/png;base64,", "text": ""}
    assert validate(TaskRequest, {"input": shown}).input == shown


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"n": 9}, "out_of_range"),
        ({"prompt": "x" * 1001}, "out_of_range"),
        ({"prompt": " "}, "empty_input"),
        ({"response_format": "url"}, "unsupported_value"),
    ],
)
def test_a_picture_request_keeps_to_its_limits(change: dict[str, Any], code: str) -> None:
    assert refusal(ImageRequest, {"prompt": "a seven", **change}).code == code


def test_feedback_must_say_something() -> None:
    assert refusal(FeedbackRequest, {"id": "x"}).code == "missing_field"
    assert validate(FeedbackRequest, {"id": "x", "rating": -1}).rating == -1


def test_null_means_that_a_field_was_not_given() -> None:
    nothing = {name: None for name in ChatRequest.model_fields if name not in CHAT}
    assert validate(ChatRequest, {**CHAT, **nothing}) == validate(ChatRequest, CHAT)


def test_a_message_may_come_back_as_the_official_client_writes_it() -> None:
    answer = {"role": "assistant", "content": "hi", "refusal": None, "audio": None, "tool_calls": None}
    parts = {"role": "user", "content": [{"type": "text", "text": "one "}, {"type": "text", "text": "text"}]}
    messages = validate(ChatRequest, {"model": "m", "messages": [answer, parts]}).messages
    assert [message.content for message in messages] == ["hi", "one text"]
