"""What a client may send: one frozen, strict model per request body.

A field of the OpenAI protocol that we do not serve is still listed here: harmless ones are accepted and ignored, the
others are refused by name, so that no wish is silently dropped. Any other field is refused with the nearest name.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, model_validator

from banyan.core.errors import InputError
from banyan.serve.forms import ResponseFormat, choices_of, json_schema_of
from banyan.serve.incoming_pictures import MAX_PICTURES, reencoded
from banyan.serve.rules import Converted, Length, ModelName, OneOf, Only, Real, Whole, refuse, show, show_content
from banyan.store.types import RequestState

MAX_CHOICES = 8  # of one request, `n`
MAX_CANDIDATES = 8  # drawn for each picture, of which one is kept
MAX_PREVIEWS = 3  # of a picture that is streamed
MAX_BEAMS = 16  # of one search; the engine's slots are the real bound
MAX_PROMPTS = 32  # of one completion request, and inputs of one task request
MAX_EMBEDDED = 2048  # inputs of one embedding request, as in the OpenAI protocol; the body limit is usually tighter
MAX_MESSAGES = 256
MAX_STOPS = 4
MAX_STOP_CHARACTERS = 64
MAX_PROMPT_CHARACTERS = 65_536  # of one text; the body limit and the context are usually tighter
MAX_IMAGE_PROMPT_CHARACTERS = 1_000
MAX_NEW_TOKENS = 1_000_000  # a sanity bound; the model's context is the real one
MAX_SEED = 2**63 - 1

_ASKED_ABOUT = ("question", "context", "text", "source", "document")  # texts of records, by the tasks' own names

MAX_BIASES = 300  # tokens
MAX_BIAS = 100

Ignored = Annotated[Any, Field(description="accepted and ignored")]
Tokens = Annotated[int, Whole(1, MAX_NEW_TOKENS)]
TextsOrIds = WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {}}]})

TokenBiases = WithJsonSchema({"type": "object", "additionalProperties": {"type": "number"}})


def _token_biases(value: Any) -> tuple[tuple[int, float], ...] | None:
    if value is None:
        return None
    rule = f"must be an object of token ids, as texts, each with a number between -{MAX_BIAS} and {MAX_BIAS}"
    if not isinstance(value, dict) or not all(type(bias) in (int, float) for bias in value.values()):
        raise refuse("invalid_type", f"{rule}, got {show(value)}")
    if wrong := [name for name in value if not re.fullmatch(r"0|[1-9][0-9]{0,9}", name)]:
        raise refuse("invalid_value", f"{rule}, got the name {show(wrong[0])}")
    if len(value) > MAX_BIASES or not all(-MAX_BIAS <= bias <= MAX_BIAS for bias in value.values()):
        raise refuse("out_of_range", f"{rule}, at most {MAX_BIASES} of them, got {show(value)}")
    return tuple(sorted((int(name), float(bias)) for name, bias in value.items()))


def _stop_strings(value: Any) -> tuple[str, ...]:
    stops = [value] if isinstance(value, str) else value
    rule = f"accepts at most {MAX_STOPS} strings of 1-{MAX_STOP_CHARACTERS} characters"
    if not isinstance(stops, list) or not all(isinstance(stop, str) for stop in stops):
        raise refuse("invalid_type", f"{rule}, got {show(value)}")
    if len(stops) > MAX_STOPS or not all(1 <= len(stop) <= MAX_STOP_CHARACTERS for stop in stops):
        raise refuse("out_of_range", rule)
    return tuple(stops)


def _message_content(value: Any) -> str | list[dict[str, Any]]:
    """Return a message's text, or where it shows pictures its parts, the pictures re-encoded."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise refuse("invalid_type", f"must be a string or an array of parts, got {show(value)}")
    parts = [_checked_part(part) for part in value]
    if num_pictures := sum(part["type"] == "image_url" for part in parts):
        if num_pictures > MAX_PICTURES:
            raise refuse("out_of_range", f"may show at most {MAX_PICTURES} pictures, got {num_pictures}")
        return parts
    return "".join(part["text"] for part in parts)


def _checked_part(part: Any) -> dict[str, Any]:
    is_text = isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)
    if is_text and set(part) == {"type", "text"}:
        return {"type": "text", "text": part["text"]}
    place = part.get("image_url") if isinstance(part, dict) and part.get("type") == "image_url" else None
    if not isinstance(place, dict) or set(place) - {"url", "detail"} or set(part) - {"type", "image_url"}:
        raise refuse("invalid_value", "may only hold parts of type text, or image_url with a data URI as its url")
    try:
        return {"type": "image_url", "image_url": {"url": reencoded(place.get("url"))}}
    except InputError as error:
        raise refuse("invalid_value", f"shows what is no picture: {error.message}") from None


def _texts_or_ids(value: Any, *, high: int, unit: str) -> tuple[str | tuple[int, ...], ...]:
    """Bring the four ways to write one text or several to one: a tuple of texts or token ids."""
    if isinstance(value, str) or (isinstance(value, list) and value and not isinstance(value[0], str | list)):
        value = [value]
    if not isinstance(value, list):
        raise refuse("invalid_type", f"must be a string, an array of strings or token ids, got {show(value)}")
    if not value:
        raise refuse("empty_input", "must not be empty")
    if len(value) > high:
        raise refuse("out_of_range", f"must have at most {high} {unit}, got {len(value)}")
    return tuple(_one_prompt(item) for item in value)


def _one_prompt(item: Any) -> str | tuple[int, ...]:
    if isinstance(item, str) and item:
        return item
    if isinstance(item, list) and item:
        for index, token in enumerate(item):
            if type(token) is not int or token < 0:
                shown = show_content(token)
                raise refuse("invalid_value", f"holds {shown} at place {index}, which is not a valid token id")
        return tuple(item)
    if item in ("", []):
        raise refuse("empty_input", "must not be empty")
    raise refuse("invalid_type", f"must be a string, an array of strings or token ids, got {show(item)}")


def _state(value: Any) -> RequestState:
    if value not in list(RequestState):
        raise refuse("invalid_value", f"must be one of {', '.join(RequestState)}, got {show(value)}")
    return RequestState(value)


def _task_input(value: Any) -> str | dict[str, Any]:
    """Accept a text with something in it, or a record with something in every text that is asked about."""
    if not isinstance(value, str | dict):
        raise refuse("invalid_type", f"must be a text or a record, got {show(value)}")
    if not (value.strip() if isinstance(value, str) else value):
        raise refuse("empty_input", "must not be empty")
    if isinstance(value, dict) and "image" not in value:  # a picture may be shown without a word
        texts = {name: value[name] for name in _ASKED_ABOUT if isinstance(value.get(name), str)}
        if blank := next((name for name, text in texts.items() if not text.strip()), None):
            raise refuse("empty_input", f"holds a {blank} that is empty; there must be something in it")
    return value


class Body(BaseModel):
    """What all bodies share: strict types, no unknown fields, no changes afterwards."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class WorkFields(Body):
    """What every request for work of the model may say."""

    timeout_seconds: Annotated[float, Real(0, 3_600, above=True)] | None = None


class SamplingFields(WorkFields):
    """How the next token is chosen."""

    temperature: Annotated[float, Real(0, 2)] | None = None
    top_p: Annotated[float, Real(0, 1, above=True)] | None = None
    top_k: Annotated[int, Whole(0, 1_000_000)] | None = None
    min_p: Annotated[float, Real(0, 1)] | None = None
    repetition_penalty: Annotated[float, Real(0, 4, above=True)] | None = None
    presence_penalty: Annotated[float, Real(-2, 2)] | None = None
    frequency_penalty: Annotated[float, Real(-2, 2)] | None = None
    seed: Annotated[int, Whole(0, MAX_SEED)] | None = None


class SearchFields(SamplingFields):
    """How a text is looked for where it is not drawn, and what it may not hold."""

    num_beams: Annotated[int, Whole(1, MAX_BEAMS)] | None = None
    length_penalty: Annotated[float, Real(-10, 10)] | None = None
    no_repeat_ngram: Annotated[int, Whole(0, 100)] | None = None
    min_tokens: Annotated[int, Whole(0, MAX_NEW_TOKENS)] | None = None


class StreamOptions(Body):
    """What a stream carries besides the text."""

    include_usage: bool | None = None
    include_obfuscation: Ignored = None


class GenerationFields(SearchFields):
    """What chat and completion requests share."""

    model: ModelName
    n: Annotated[int, Whole(1, MAX_CHOICES)] | None = None
    max_tokens: Tokens | None = None
    stop: Annotated[tuple[str, ...], Converted(_stop_strings)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    response_format: Annotated[str | None, Converted(json_schema_of), ResponseFormat] = None
    choices: Annotated[tuple[str, ...], Converted(choices_of)] | None = None
    user: Ignored = None
    metadata: Ignored = None
    logit_bias: Annotated[Any, Converted(_token_biases), TokenBiases] = None
    prompt_lookup: bool | None = None

    @property
    def json_schema(self) -> str | None:
        """What the answer must fit; None: it is free."""
        return self.response_format

    @property
    def num_choices(self) -> int:
        """Answers asked for each prompt."""
        return self.n or 1

    @property
    def includes_usage(self) -> bool:
        """Whether the stream shall end with the token counts."""
        return bool(self.stream_options and self.stream_options.include_usage)


class ChatMessage(Body):
    """One turn of a conversation."""

    role: Annotated[str, OneOf(("system", "developer", "user", "assistant", "tool"))]
    content: Annotated[str | list[dict[str, Any]], Converted(_message_content)]
    name: Ignored = None
    tool_call_id: Ignored = None
    refusal: Ignored = None
    annotations: Ignored = None
    audio: Annotated[Any, Only((), "is not supported by this server")] = None
    function_call: Annotated[Any, Only((), "cannot be used: this model was not trained for tools")] = None
    tool_calls: Annotated[Any, Only(([],), "cannot be used: this model was not trained for tools")] = None


class ChatRequest(GenerationFields):
    """POST /v1/chat/completions."""

    messages: Annotated[list[ChatMessage], Length(MAX_MESSAGES, "messages")]
    max_completion_tokens: Tokens | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Whole(0, 20)] | None = None
    tools: Annotated[
        Any, Only(([],), "cannot be used: this model was not trained for tools", code="tools_not_supported")
    ] = None
    functions: Annotated[
        Any, Only(([],), "cannot be used: this model was not trained for tools", code="tools_not_supported")
    ] = None
    tool_choice: Annotated[Any, Only(("none", "auto"), "cannot be used: this model was not trained for tools")] = None
    modalities: Annotated[Any, Only((["text"],), 'offers only ["text"] on this server')] = None
    parallel_tool_calls: Ignored = None
    prediction: Ignored = None
    prompt_cache_key: Ignored = None
    reasoning_effort: Ignored = None
    safety_identifier: Ignored = None
    service_tier: Ignored = None
    store: Ignored = None
    verbosity: Ignored = None

    @model_validator(mode="after")
    def _scores_before_alternatives(self) -> ChatRequest:
        if self.top_logprobs is not None and self.logprobs is not True:
            raise refuse("invalid_value", "top_logprobs needs logprobs=true")
        return self

    @property
    def num_alternatives(self) -> int | None:
        """Likeliest tokens to tell of each place."""
        return self.top_logprobs

    @property
    def wants_log_probs(self) -> bool:
        """Whether log-probabilities belong to the answer."""
        return bool(self.logprobs)


class CompletionRequest(GenerationFields):
    """POST /v1/completions."""

    prompt: Annotated[Any, Converted(partial(_texts_or_ids, high=MAX_PROMPTS, unit="prompts")), TextsOrIds]
    logprobs: Annotated[int, Whole(0, 5)] | None = None
    echo: Annotated[Any, Only((False,), "is not supported by this server")] = None
    suffix: Annotated[Any, Only(("",), "is not supported by this server")] = None
    best_of: Annotated[Any, Only((1,), "above 1 is not supported by this server")] = None

    @property
    def num_alternatives(self) -> int | None:
        """Likeliest tokens to tell of each place."""
        return self.logprobs

    @property
    def wants_log_probs(self) -> bool:
        """Whether log-probabilities belong to the answer."""
        return self.logprobs is not None


class EmbeddingRequest(WorkFields):
    """POST /v1/embeddings; `pooling`, `layer` and `long_input` are our own."""

    model: ModelName
    input: Annotated[Any, Converted(partial(_texts_or_ids, high=MAX_EMBEDDED, unit="inputs")), TextsOrIds]
    encoding_format: Annotated[str, OneOf(("float", "base64"))] | None = None
    dimensions: Annotated[int, Whole(1, 1_000_000)] | None = None
    pooling: Annotated[str, OneOf(("mean", "last"))] | None = None
    layer: Annotated[int, Whole(-1000, 1000)] | None = None
    long_input: Annotated[str, OneOf(("refuse", "windows"))] | None = None
    user: Ignored = None


class ImageRequest(SamplingFields):
    """POST /v1/images/generations."""

    prompt: Annotated[str, Length(MAX_IMAGE_PROMPT_CHARACTERS)]
    model: ModelName | None = None
    n: Annotated[int, Whole(1, MAX_CHOICES)] | None = None
    size: str | None = None
    guidance_scale: Annotated[float, Real(1, 20)] | None = None
    guidance_power: Annotated[float, Real(0, 10)] | None = None
    num_candidates: Annotated[int, Whole(1, MAX_CANDIDATES)] | None = None
    response_format: Annotated[Any, Only(("b64_json",), "offers only b64_json on this server")] = None
    output_format: Annotated[Any, Only(("png",), "offers only png on this server")] = None
    stream: bool | None = None
    partial_images: Annotated[int, Whole(0, MAX_PREVIEWS)] | None = None  # while it is streamed
    background: Ignored = None
    moderation: Ignored = None
    output_compression: Ignored = None
    quality: Ignored = None
    style: Ignored = None
    user: Ignored = None


TaskInput = Annotated[Any, Converted(_task_input), WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "object"}]})]


class TaskRequest(SearchFields):
    """POST /v1/tasks/{name}: one input or several, each a text or a record in the format of the task's data."""

    input: TaskInput | None = None
    inputs: Annotated[list[TaskInput], Length(MAX_PROMPTS, "inputs")] | None = None
    model: ModelName | None = None
    max_tokens: Tokens | None = None
    stop: Annotated[tuple[str, ...], Converted(_stop_strings)] | None = None
    guidance_scale: Annotated[float, Real(1, 20)] | None = None

    @model_validator(mode="after")
    def _has_one_kind_of_input(self) -> TaskRequest:
        if (self.input is None) == (self.inputs is None):
            raise refuse("missing_field", 'exactly one of "input" and "inputs" is required')
        return self

    @property
    def all_inputs(self) -> list[str | dict[str, Any]]:
        """The inputs, one or many, as a list."""
        return self.inputs if self.inputs is not None else [self.input or ""]


class TasksQuery(Body):
    """GET /v1/tasks: whose tasks to list."""

    model: ModelName | None = None  # None: those of the main model


class FeedbackRequest(Body):
    """POST /v1/feedback: what a person thinks of a stored answer, and what it should have been."""

    id: Annotated[str, Length(64)]
    index: Annotated[int, Whole(0, MAX_EMBEDDED - 1)] | None = None  # of the answer; needed where there are several
    rating: Annotated[int, Whole(-1, 1)] | None = None
    comment: Annotated[str, Length(4_000)] | None = None
    correction: Annotated[str, Length(MAX_PROMPT_CHARACTERS, may_be_empty=True)] | None = None  # "": there is no answer

    @model_validator(mode="after")
    def _says_something(self) -> FeedbackRequest:
        if self.rating is None and self.comment is None and self.correction is None:
            raise refuse("missing_field", 'one of "rating", "comment" and "correction" is required')
        return self


class OutputsQuery(Body):
    """GET /v1/outputs: which stored requests to list."""

    limit: Annotated[int, Whole(1, 100)] = 20
    before: Annotated[str, Length(26)] | None = None  # the id of the last one of the page before
    task: Annotated[str, Length(200)] | None = None
    state: Annotated[RequestState, Converted(_state)] | None = None
    q: Annotated[str, Length(200)] | None = None  # a text in the question or the answer
    similar: Annotated[str, Length(1_000)] | None = None  # a text that the answer means something like

    @model_validator(mode="after")
    def _asks_one_thing(self) -> OutputsQuery:
        if self.similar is not None and (self.q is not None or self.before is not None):
            raise refuse(
                "invalid_value", 'similar gives one page, the nearest first; "q" and "before" do not go with it'
            )
        return self
