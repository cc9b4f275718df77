"""What a client may send to have text turned into token ids, or ids into text; the words are vLLM's."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import WithJsonSchema, model_validator

from banyan.serve.rules import Converted, Length, ModelName, refuse, show_content
from banyan.serve.schemas import MAX_MESSAGES, MAX_PROMPT_CHARACTERS, Body, ChatMessage

MAX_TOKENS = 65_536  # ids of one request


def _token_ids(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list):
        raise refuse("invalid_type", f"must be an array of token ids, got {show_content(value)}")
    if len(value) > MAX_TOKENS:
        raise refuse("out_of_range", f"must have at most {MAX_TOKENS} ids, got {len(value)}")
    for index, token in enumerate(value):
        if type(token) is not int or token < 0:
            shown = show_content(token)
            raise refuse("invalid_value", f"holds {shown} at place {index}, which is not a valid token id")
    return tuple(value)


TokenIds = Annotated[
    tuple[int, ...],
    Converted(_token_ids),
    WithJsonSchema({"type": "array", "maxItems": MAX_TOKENS, "items": {"type": "integer", "minimum": 0}}),
]


class TokenizeRequest(Body):
    """POST /tokenize: a text, or a conversation as the model reads it."""

    model: ModelName | None = None
    prompt: Annotated[str, Length(MAX_PROMPT_CHARACTERS)] | None = None
    messages: Annotated[list[ChatMessage], Length(MAX_MESSAGES, "messages")] | None = None

    @model_validator(mode="after")
    def _has_one_kind_of_text(self) -> TokenizeRequest:
        if (self.prompt is None) == (self.messages is None):
            raise refuse("missing_field", 'exactly one of "prompt" and "messages" is required')
        return self


class DetokenizeRequest(Body):
    """POST /detokenize."""

    tokens: TokenIds
    model: ModelName | None = None
