"""The JSON shapes of the OpenAI protocol: what chunks and whole answers look like for chat and for completions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoredToken:
    """One token of an answer with the model's log-probability of it."""

    text: str  # what the token alone decodes to
    raw: bytes  # its bytes; a character may be spread over several tokens
    log_prob: float
    alternatives: tuple[ScoredToken, ...] = ()  # the likeliest tokens of this place, where they were asked for


@dataclass(frozen=True, kw_only=True, slots=True)
class Delta:
    """A piece of one choice, as it is being written."""

    index: int
    text: str
    tokens: tuple[ScoredToken, ...] = ()
    token_ids: tuple[int, ...] = ()  # of the same tokens


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """Token counts of one request."""

    num_prompt_tokens: int
    num_completion_tokens: int
    num_cached_tokens: int = 0  # of the prompt, that were not read again

    def as_json(self) -> dict[str, Any]:
        """Return the counts in the protocol's words."""
        return {
            "prompt_tokens": self.num_prompt_tokens,
            "completion_tokens": self.num_completion_tokens,
            "total_tokens": self.num_prompt_tokens + self.num_completion_tokens,
            "prompt_tokens_details": {"cached_tokens": self.num_cached_tokens},
        }


class Shape(Protocol):
    """How one endpoint writes its answers."""

    @property
    def object_name(self) -> str:
        """The name of a whole answer."""
        ...

    @property
    def chunk_name(self) -> str:
        """The name of a piece of a stream."""
        ...

    @property
    def id_prefix(self) -> str:
        """What stands before the ULID in an answer's id."""
        ...

    def opening(self, index: int) -> dict[str, Any] | None:
        """Return the choice that opens a stream, if the protocol has one."""
        ...

    def delta(self, delta: Delta) -> dict[str, Any]:
        """Return the choice that carries a piece."""
        ...

    def finish(self, index: int, finish_reason: str) -> dict[str, Any]:
        """Return the choice that ends a stream."""
        ...

    def whole(self, delta: Delta, finish_reason: str) -> dict[str, Any]:
        """Return the choice of an answer that is not streamed; the delta holds all of its text."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatShape:
    """POST /v1/chat/completions."""

    with_log_probs: bool
    object_name: str = "chat.completion"
    chunk_name: str = "chat.completion.chunk"
    id_prefix: str = "chatcmpl-"

    def opening(self, index: int) -> dict[str, Any]:
        """Say who speaks."""
        return self._chunk(index, {"role": "assistant", "content": ""})

    def delta(self, delta: Delta) -> dict[str, Any]:
        """Carry a piece of the message."""
        return {**self._chunk(delta.index, {"content": delta.text}), "logprobs": self._log_probs(delta.tokens)}

    def finish(self, index: int, finish_reason: str) -> dict[str, Any]:
        """Say why the message ended."""
        return {**self._chunk(index, {}), "finish_reason": finish_reason}

    def whole(self, delta: Delta, finish_reason: str) -> dict[str, Any]:
        """Carry the whole message."""
        return {
            "index": delta.index,
            "message": {"role": "assistant", "content": delta.text, "refusal": None},
            "logprobs": self._log_probs(delta.tokens),
            "finish_reason": finish_reason,
        }

    def _chunk(self, index: int, delta: dict[str, Any]) -> dict[str, Any]:
        return {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}

    def _log_probs(self, tokens: Sequence[ScoredToken]) -> dict[str, Any] | None:
        if not self.with_log_probs:
            return None
        return {"content": [_chat_token(token) for token in tokens], "refusal": None}


@dataclass(frozen=True, kw_only=True, slots=True)
class CompletionShape:
    """POST /v1/completions: the same object for pieces and whole answers."""

    with_log_probs: bool
    object_name: str = "text_completion"
    chunk_name: str = "text_completion"
    id_prefix: str = "cmpl-"

    def opening(self, index: int) -> None:
        """Completions have no opening."""

    def delta(self, delta: Delta) -> dict[str, Any]:
        """Carry a piece of the text."""
        return self._choice(delta, None)

    def finish(self, index: int, finish_reason: str) -> dict[str, Any]:
        """Say why the text ended."""
        return {"index": index, "text": "", "logprobs": None, "finish_reason": finish_reason}

    def whole(self, delta: Delta, finish_reason: str) -> dict[str, Any]:
        """Carry the whole text."""
        return self._choice(delta, finish_reason)

    def _choice(self, delta: Delta, finish_reason: str | None) -> dict[str, Any]:
        log_probs = _completion_tokens(delta.tokens) if self.with_log_probs else None
        return {"index": delta.index, "text": delta.text, "logprobs": log_probs, "finish_reason": finish_reason}


def _chat_token(token: ScoredToken) -> dict[str, Any]:
    return {**_chat_alternative(token), "top_logprobs": [_chat_alternative(other) for other in token.alternatives]}


def _chat_alternative(token: ScoredToken) -> dict[str, Any]:
    return {"token": token.text, "logprob": token.log_prob, "bytes": list(token.raw)}


def _completion_tokens(tokens: Sequence[ScoredToken]) -> dict[str, Any]:
    alternatives = [{other.text: other.log_prob for other in reversed(token.alternatives)} for token in tokens]
    offsets = [sum(len(before.text) for before in tokens[:index]) for index in range(len(tokens))]
    return {
        "tokens": [token.text for token in tokens],
        "token_logprobs": [token.log_prob for token in tokens],
        "top_logprobs": alternatives if any(alternatives) else None,
        "text_offset": offsets,
    }
