"""What the server answers, for the description of the API; a test reads real answers with these schemas."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, create_model

from banyan.serve.answer_base import Answer
from banyan.serve.run_schemas import RunFacts, RunSamples, RunStory


class CachedTokens(Answer):
    """What of a prompt needed not be read again."""

    cached_tokens: int


class TokenUsage(Answer):
    """Tokens of one request."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: CachedTokens


class TokenAlternative(Answer):
    """A token that might have come, with its log-probability."""

    token: str
    logprob: float
    bytes: list[int]


class ChatToken(TokenAlternative):
    """One token of a message with its log-probability, and the likeliest tokens of its place."""

    top_logprobs: list[TokenAlternative]


class ChatLogProbs(Answer):
    """The tokens of a message."""

    content: list[ChatToken]
    refusal: None


class AssistantMessage(Answer):
    """What the assistant says."""

    role: Literal["assistant"]
    content: str
    refusal: None


class ChatChoice(Answer):
    """One answer to a conversation."""

    index: int
    message: AssistantMessage
    logprobs: ChatLogProbs | None
    finish_reason: Literal["stop", "length"]


class ChatCompletion(Answer):
    """POST /v1/chat/completions, not streamed."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChatChoice]
    usage: TokenUsage


class CompletionLogProbs(Answer):
    """The tokens of a text."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]] | None  # of tokens that read the same, the likeliest
    text_offset: list[int]


class CompletionChoice(Answer):
    """One continuation."""

    index: int
    text: str
    logprobs: CompletionLogProbs | None
    finish_reason: Literal["stop", "length"]


class TextCompletion(Answer):
    """POST /v1/completions, not streamed."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[CompletionChoice]
    usage: TokenUsage


class EmbeddingUsage(Answer):
    """Tokens of the texts."""

    prompt_tokens: int
    total_tokens: int


class Embedding(Answer):
    """The vector of one text, as numbers or as base64 of little-endian float32."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingList(Answer):
    """POST /v1/embeddings."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage


class ImageTokenDetails(Answer):
    """What a wish was made of."""

    text_tokens: int
    image_tokens: int


class ImageUsage(Answer):
    """Tokens of a wish and its pictures."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    input_tokens_details: ImageTokenDetails


class Picture(Answer):
    """One picture as base64 PNG."""

    b64_json: str


class ImagesAnswer(Answer):
    """POST /v1/images/generations, not streamed."""

    created: int
    data: list[Picture]
    usage: ImageUsage


class TaskPredictions(Answer):
    """POST /v1/tasks/{name}: one prediction for each input, with the fields that its kind of task has."""

    id: str
    object: Literal["task.predictions"]
    model: str
    task: str
    kind: str
    predictions: list[dict[str, Any]]
    usage: TokenUsage


class TaskFacts(BaseModel):
    """One task of the model; labels, languages and sizes where it has such."""

    model_config = ConfigDict(strict=True, extra="allow")

    name: str
    object: Literal["task"]
    kind: str
    metric: str


class ModelCard(Answer):
    """One model, or one adapter."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    sha256: str
    max_seq_len: int
    num_parameters: int
    tasks: list[str]
    parent: str | None = None  # of an adapter: the model it lies on, and its own name
    adapter: str | None = None


class StoredAnswerFacts(BaseModel):
    """One stored request with its answers and what people said of them."""

    model_config = ConfigDict(strict=True, extra="allow")

    id: str
    object: Literal["output"]
    created: int
    endpoint: str
    task: str
    model: str
    state: str
    store_mode: str
    body: dict[str, Any]
    outputs: list[dict[str, Any]]
    feedback: list[dict[str, Any]]


class Deleted(Answer):
    """DELETE /v1/outputs/{id}."""

    id: str
    object: Literal["output.deleted"]
    cancelled: bool
    deleted: bool


class FeedbackKept(Answer):
    """POST /v1/feedback."""

    id: str
    object: Literal["feedback"]
    request_id: str
    index: int


class Tokens(Answer):
    """POST /tokenize."""

    model: str
    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str]


class PlainText(Answer):
    """POST /detokenize."""

    prompt: str


class KeyFacts(Answer):
    """What may be told of an API key."""

    id: str
    name: str
    prefix: str
    scopes: list[str]
    state: Literal["valid", "expired", "revoked"]
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None
    limits: dict[str, int]
    store_mode: str
    training_ok: bool


class NewKey(KeyFacts):
    """POST /admin/keys: the only answer that ever holds the secret."""

    secret: str


class ModelTakenOut(Answer):
    """DELETE /admin/models/{name}."""

    id: str
    object: Literal["model.deleted"]
    deleted: bool


class Health(Answer):
    """GET /livez and /readyz."""

    status: str


def list_of(item: type[BaseModel]) -> type[BaseModel]:
    """Return the schema of a list of things; what comes after them, where a list can go on."""
    more = {"has_more": (bool | None, None), "next_before": (str | None, None), "num_unread": (int | None, None)}
    fields: dict[str, Any] = {"object": (Literal["list"], ...), "data": (list[item], ...), **more}  # type: ignore[valid-type]
    return create_model(f"ListOf{item.__name__}", __base__=Answer, **fields)


MODELS = list_of(ModelCard)
# What a route answers with status 200, by its method and path; None: something that is not JSON.
ANSWERS: dict[tuple[str, str], type[BaseModel] | None] = {
    ("POST", "/v1/chat/completions"): ChatCompletion,
    ("POST", "/v1/completions"): TextCompletion,
    ("POST", "/v1/embeddings"): EmbeddingList,
    ("POST", "/v1/images/generations"): ImagesAnswer,
    ("GET", "/v1/tasks"): list_of(TaskFacts),
    ("POST", "/v1/tasks/{name}"): TaskPredictions,
    ("POST", "/tokenize"): Tokens,
    ("POST", "/detokenize"): PlainText,
    ("GET", "/v1/models"): MODELS,
    ("GET", "/v1/models/{name}"): ModelCard,
    ("GET", "/v1/outputs"): list_of(StoredAnswerFacts),
    ("GET", "/v1/outputs/{output_id}"): StoredAnswerFacts,
    ("DELETE", "/v1/outputs/{output_id}"): Deleted,
    ("POST", "/v1/feedback"): FeedbackKept,
    ("GET", "/v1/runs"): list_of(RunFacts),
    ("GET", "/v1/runs/{run_id}"): RunStory,
    ("GET", "/v1/runs/{run_id}/samples"): RunSamples,
    ("GET", "/admin/keys"): list_of(KeyFacts),
    ("POST", "/admin/keys"): NewKey,
    ("POST", "/admin/keys/{key_id}"): KeyFacts,
    ("DELETE", "/admin/keys/{key_id}"): KeyFacts,
    ("GET", "/admin/models"): MODELS,
    ("POST", "/admin/models"): ModelCard,
    ("DELETE", "/admin/models/{name}"): ModelTakenOut,
    ("GET", "/livez"): Health,
    ("GET", "/readyz"): Health,
    ("GET", "/metrics"): None,
    ("GET", "/openapi.json"): None,
}
STREAMED = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/images/generations"})
