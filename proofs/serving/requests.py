"""A thousand requests of every kind, the same ones every time."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

WORDS = (
    *("the", "banyan", "grows", "one", "tree", "a", "whole", "forest", "独木成林", "数字", "def", "return", "import"),
    *("sum", "of", "two", "numbers", "what", "does", "it", "🌳"),
)
SYSTEM = "You answer in few words. " * 6  # more than two pieces, so that remembered beginnings take part
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 6}, "is_sure": {"type": "boolean"}},
    "required": ["name"],
}
FORMS: list[dict[str, Any]] = [
    {"response_format": {"type": "json_object"}},
    {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}},
    {"choices": ["yes", "no", "独木成林"]},
]
WAYS: list[dict[str, Any]] = [
    {"temperature": 0},
    {"temperature": 1.0, "top_p": 0.9},
    {"temperature": 1.4, "top_k": 20, "repetition_penalty": 1.2},
    {"temperature": 0.8, "min_p": 0.05, "presence_penalty": 0.5, "frequency_penalty": 0.3},
    {"temperature": 1.0, "no_repeat_ngram": 2, "min_tokens": 4},
    {"temperature": 0, "num_beams": 3, "length_penalty": 0.7},
]


def requests(number: int, *, tasks: Mapping[str, str], seed: int = 0) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the path and body of so many requests; `tasks` are the model's task names by kind."""
    draw = random.Random(seed)
    makers = [_chat, _chat, _completion, _completion, _task, _task, _picture, _vectors]
    for _ in range(number):
        yield draw.choice(makers)(draw, tasks)


def _text(draw: random.Random, *, most: int = 12) -> str:
    return " ".join(draw.choices(WORDS, k=draw.randint(1, most)))


def _written(draw: random.Random) -> dict[str, Any]:
    way = draw.choice(WAYS)
    if draw.random() < 0.2:
        way = {"temperature": 1.2, **draw.choice(FORMS), "max_tokens": 40}
    is_search = "num_beams" in way
    streamed = {} if is_search or draw.random() < 0.5 else {"stream": True}
    return {"model": "tiny", "max_tokens": draw.randint(1, 30), **way, **streamed}


def _chat(draw: random.Random, _: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    messages = [{"role": "user", "content": _text(draw)}]
    if draw.random() < 0.5:
        messages.insert(0, {"role": "system", "content": SYSTEM})
    return "/v1/chat/completions", {"messages": messages, **_written(draw)}


def _completion(draw: random.Random, _: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    prompts = [draw.choice(("", SYSTEM)) + _text(draw) for _ in range(draw.randint(1, 2))]
    choices = {"n": draw.randint(1, 2)}
    return "/v1/completions", {"prompt": prompts, **choices, **_written(draw)}


def _task(draw: random.Random, tasks: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    kind = draw.choice(
        [kind for kind in ("classification", "tagging", "question_answering", "summarization") if kind in tasks]
    )
    is_question = kind == "question_answering"
    inputs: list[Any] = [
        {"question": _text(draw, most=4), "context": _text(draw)} if is_question else _text(draw)
        for _ in range(draw.randint(1, 3))
    ]
    return f"/v1/tasks/{tasks[kind]}", {"inputs": inputs}


def _picture(draw: random.Random, _: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    wish = {"prompt": _text(draw, most=4), "n": draw.randint(1, 2), "temperature": 1.0}
    return "/v1/images/generations", {**wish, "guidance_scale": draw.choice((1.0, 2.5))}


def _vectors(draw: random.Random, _: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    return "/v1/embeddings", {"model": "tiny", "input": [_text(draw) for _ in range(draw.randint(1, 4))]}
