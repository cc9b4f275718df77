"""Requests of every kind, half of them streamed, and what an answer to one says, whoever tells it.

What a client received and what the database kept are brought to one form, so that one hash compares them: the texts of
all choices, the fields of predictions, the bytes of pictures and vectors.
"""

from __future__ import annotations

import base64
import json
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np

from banyan.store.types import StoredExchange
from proofs.serving.goals.bench import MODEL_NAME, TASK_NAMES
from proofs.serving.requests import SYSTEM, WORDS

_CHAT, _COMPLETIONS = "/v1/chat/completions", "/v1/completions"
_IMAGES, _EMBEDDINGS = "/v1/images/generations", "/v1/embeddings"
_TASK_KINDS = ("classification", "tagging", "question_answering", "translation", "summarization")
_MOST_TOKENS = 24  # of a written answer


@dataclass(frozen=True, kw_only=True, slots=True)
class Asking:
    """One request: where it goes and what it says."""

    path: str
    body: dict[str, Any]

    @property
    def is_streamed(self) -> bool:
        """Whether its answer comes in pieces."""
        return bool(self.body.get("stream"))


def askings(seed: str, *, most_tokens: int = _MOST_TOKENS) -> Iterator[Asking]:
    """Yield requests of all kinds without end, the same ones for the same seed; every second one is streamed."""
    draw = random.Random(seed)
    while True:
        yield draw.choice((_chat, _completion, _picture))(draw, most_tokens, is_streamed=True)
        yield draw.choice((_chat, _completion, _picture, _vectors, *(_task,) * len(_TASK_KINDS)))(draw, most_tokens)


def answer_text(asking: Asking, body: bytes) -> str | None:
    """Return what an answer says in the form that is compared; None if it is not a whole answer."""
    if asking.is_streamed:
        return _of_stream(asking.path, body)
    read = json.loads(body)
    if asking.path in (_CHAT, _COMPLETIONS):
        choices = sorted(read["choices"], key=lambda choice: int(choice["index"]))
        return _as_one([choice["message"]["content"] if "message" in choice else choice["text"] for choice in choices])
    if asking.path == _IMAGES:
        return _as_one([_hash(base64.b64decode(picture["b64_json"])) for picture in read["data"]])
    if asking.path == _EMBEDDINGS:
        return _as_one([_hash(_vector_bytes(item["embedding"])) for item in read["data"]])
    return _as_one([{k: v for k, v in own.items() if k != "index"} for own in read["predictions"]])


def stored_text(exchange: StoredExchange) -> str:
    """Return what the database kept of an answer, in the same form."""
    outputs = exchange.answer.outputs if exchange.answer else ()
    if exchange.request.endpoint in (_CHAT, _COMPLETIONS):
        return _as_one([output.text for output in outputs])
    if exchange.request.endpoint in (_IMAGES, _EMBEDDINGS):
        return _as_one([artifact.sha256 for output in outputs for artifact in output.artifacts])
    return _as_one([output.prediction or {} for output in outputs])


def hash_of(text: str) -> str:
    """Return the hash that stands for an answer."""
    return _hash(text.encode("utf-8", "surrogatepass"))


def _of_stream(path: str, body: bytes) -> str | None:
    frames = [frame.removeprefix(b"data: ") for frame in body.split(b"\n\n") if frame.startswith(b"data: ")]
    if not frames or frames[-1] != b"[DONE]":
        return None
    events = [json.loads(frame) for frame in frames[:-1]]
    if any("error" in event for event in events):
        return None
    if path == _IMAGES:
        return _as_one([_hash(base64.b64decode(events[-1]["b64_json"]))])
    texts: dict[int, str] = defaultdict(str)
    for choice in (choice for event in events for choice in event["choices"]):
        texts[choice["index"]] += choice["delta"].get("content") or "" if "delta" in choice else choice["text"]
    return _as_one([texts[index] for index in sorted(texts)])


def _as_one(parts: list[Any]) -> str:
    return json.dumps(parts, sort_keys=True)


def _hash(data: bytes) -> str:
    return sha256(data).hexdigest()


def _vector_bytes(given: Any) -> bytes:
    return base64.b64decode(given) if isinstance(given, str) else np.asarray(given, "<f4").tobytes()


def _text(draw: random.Random, *, most: int = 8) -> str:
    return " ".join(draw.choices(WORDS, k=draw.randint(1, most)))


def _written(draw: random.Random, most_tokens: int, *, is_streamed: bool) -> dict[str, Any]:
    drawn: dict[str, Any] = draw.choice(({"temperature": 0}, {"temperature": 1.0, "seed": draw.randrange(1 << 31)}))
    return {"model": MODEL_NAME, "max_tokens": draw.randint(1, most_tokens), "stream": is_streamed, **drawn}


def _chat(draw: random.Random, most_tokens: int, *, is_streamed: bool = False) -> Asking:
    messages = [{"role": "user", "content": _text(draw)}]
    if draw.random() < 0.3:
        messages.insert(0, {"role": "system", "content": SYSTEM})
    return Asking(path=_CHAT, body={"messages": messages, **_written(draw, most_tokens, is_streamed=is_streamed)})


def _completion(draw: random.Random, most_tokens: int, *, is_streamed: bool = False) -> Asking:
    prompts = [_text(draw) for _ in range(draw.randint(1, 2))]
    written = _written(draw, most_tokens, is_streamed=is_streamed)
    return Asking(path=_COMPLETIONS, body={"prompt": prompts, "n": draw.randint(1, 2), **written})


def _picture(draw: random.Random, _: int, *, is_streamed: bool = False) -> Asking:
    wish = {"prompt": _text(draw, most=4), "temperature": 1.0, "seed": draw.randrange(1 << 31)}
    many = {"stream": True, "partial_images": 1} if is_streamed else {"n": draw.randint(1, 2)}
    return Asking(path=_IMAGES, body={**wish, **many})


def _vectors(draw: random.Random, _: int) -> Asking:
    form = {"encoding_format": draw.choice(("float", "base64"))}
    return Asking(path=_EMBEDDINGS, body={"model": MODEL_NAME, "input": [_text(draw), _text(draw)], **form})


def _task(draw: random.Random, most_tokens: int) -> Asking:
    kind, text = draw.choice(_TASK_KINDS), _text(draw)
    shapes: dict[str, Any] = {
        "question_answering": {"question": _text(draw, most=4), "context": text},
        "translation": f"en>zh: {text}",
    }
    body: dict[str, Any] = {"inputs": [shapes.get(kind, text)]}
    if kind in ("translation", "summarization"):
        body["max_tokens"] = most_tokens
    return Asking(path=f"/v1/tasks/{TASK_NAMES[kind]}", body=body)
