"""Clients that ask until they have an answer, each request under one idempotency key."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

import httpx

MAX_TRIES = 60
PAUSE_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """What a client got in the end."""

    label: str
    text: str
    num_tries: int


def ask(client: httpx.Client, label: str, *, num_tokens: int, is_streamed: bool) -> Answered:
    """Ask for a text of exactly so many tokens, again after every failure.

    Raises: AssertionError if there is no answer after MAX_TRIES.
    """
    body = {"model": "tiny", "prompt": f"Tree {label}", "min_tokens": num_tokens, "max_tokens": num_tokens}
    headers = {"Idempotency-Key": label, "X-Client-Request-Id": label}
    failures: list[str] = []
    for number in range(1, MAX_TRIES + 1):
        try:
            response = client.post("/v1/completions", json={**body, "stream": is_streamed}, headers=headers)
            text = _text_of(response, is_streamed=is_streamed)
        except httpx.TransportError as error:
            text = None
            failures.append(type(error).__name__)
        else:
            failures.append(f"{response.status_code} {response.text[-80:]}")
        if text is not None:
            return Answered(label=label, text=text, num_tries=number)
        time.sleep(PAUSE_SECONDS)
    raise AssertionError(f"{label} got no answer: {failures[-3:]}")


def _text_of(response: httpx.Response, *, is_streamed: bool) -> str | None:
    """Return the whole text of an answer; None of one that is a failure, or a stream without its end."""
    if response.status_code != 200:
        return None
    if not is_streamed:
        return str(response.json()["choices"][0]["text"])
    frames = [line.removeprefix("data: ") for line in response.text.split("\n") if line.startswith("data: ")]
    if not frames or frames[-1] != "[DONE]":
        return None
    read = [json.loads(frame) for frame in frames[:-1]]
    return None if any("error" in frame for frame in read) else "".join(c["text"] for f in read for c in f["choices"])
