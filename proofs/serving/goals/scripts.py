"""G22: the pieces of a stream are the whole answer, character for character, in every writing system."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx

from banyan.store.types import StoredExchange
from banyan.testing.tasks import VOCABULARY
from proofs.evidence import Cell
from proofs.serving.goals.bench import MODEL_NAME, Bench
from proofs.serving.goals.blocks import blocks, numbers_of
from proofs.serving.goals.stream_rules import read_stream
from proofs.serving.goals.writing_systems import hard_text, impossible_text

_NUM_CLIENTS = 4
_MOST_TOKENS = 12
_CHAT, _COMPLETIONS = "/v1/chat/completions", "/v1/completions"
_UNKNOWN = "\ufffd"  # what stands for bytes that are no UTF-8


@dataclass(frozen=True, kw_only=True)
class Question:
    """One prompt, and what must come of it."""

    kind: str
    path: str
    asked: dict[str, Any]
    answer: str | None = None  # that is forced; None: the model says what it likes
    is_refused: bool = False


@dataclass(frozen=True, kw_only=True)
class Told:
    """What the client got for a question, streamed and whole."""

    question: Question
    text: str
    request_ids: tuple[str, ...]  # none: it was refused


def _chat(draw: random.Random) -> Question:
    messages = [{"role": draw.choice(("system", "user")), "content": hard_text(draw)}]
    return Question(kind="chats", path=_CHAT, asked={"messages": [*messages, {"role": "user", "content": "?"}]})


def _completion(draw: random.Random) -> Question:
    return Question(kind="texts", path=_COMPLETIONS, asked={"prompt": hard_text(draw)})


def _part_of_a_character(draw: random.Random) -> Question:
    """Ask with tokens that end, or begin, in the middle of a character, or hold NUL."""
    ids = VOCABULARY.encode(hard_text(draw) + draw.choice(("\0", "")) + draw.choice("🌳龘𠮷קé"))
    middle = draw.randint(1, max(1, len(ids) - 1))
    first = draw.choice((0, 0, 1))
    return Question(kind="cut token ids", path=_COMPLETIONS, asked={"prompt": ids[first:middle] or ids[:1]})


def _forced(draw: random.Random) -> Question:
    answer = hard_text(draw, most_parts=3)
    choices = {"choices": [answer], "max_tokens": len(answer.encode()) + 2}
    if draw.random() < 0.5:
        messages = [{"role": "user", "content": hard_text(draw, most_parts=4)}]
        return Question(kind="forced answers", path=_CHAT, asked={"messages": messages, **choices}, answer=answer)
    return Question(kind="forced answers", path=_COMPLETIONS, asked={"prompt": "a", **choices}, answer=answer)


def _impossible(draw: random.Random) -> Question:
    return Question(kind="refusals", path=_COMPLETIONS, asked={"prompt": impossible_text(draw)}, is_refused=True)


_MAKERS: tuple[Callable[[random.Random], Question], ...] = (
    *(_chat, _completion, _part_of_a_character, _forced, _chat),
    *(_completion, _part_of_a_character, _forced, _forced, _impossible),
)


def question_of(number: int) -> Question:
    """Return the question of a number, always the same one."""
    return _MAKERS[number % len(_MAKERS)](random.Random(f"script {number}"))


def run(bench: Bench, trial: str) -> str:
    """Ask a block of questions, each streamed and whole; look at what was told, written and stored."""
    with bench.server(f"G22-{trial}") as server, server.client() as client:
        with ThreadPoolExecutor(_NUM_CLIENTS) as pool:
            found = list(pool.map(lambda number: _ask(client, number), numbers_of(trial)))
        rows = {own.request.request_id: own for own in server.exchanges()}
    for told in found:
        for request_id in told.request_ids:
            _check_row(told, rows[request_id])
    counts = Counter(told.question.kind for told in found)
    num_unknown = sum(_UNKNOWN in told.text for told in found)
    kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(counts.items()))
    return f"{kinds}; {num_unknown} answers with bytes that are no UTF-8, as the model wrote them"


def _ask(client: httpx.Client, number: int) -> Told:
    """Ask one question twice.

    Raises: AssertionError if the pieces are not the whole.
    """
    question = question_of(number)
    drawn = {"model": MODEL_NAME, "max_tokens": _MOST_TOKENS, "temperature": 1.0, "seed": number}
    bodies = [{**drawn, **question.asked, **form} for form in ({}, {"stream": True})]
    whole, streamed = (_post(client, question.path, body) for body in bodies)
    if question.is_refused:
        codes = [each.json()["error"]["code"] for each in (whole, streamed)]
        assert codes == ["invalid_text"] * 2, f"question {number}: {codes}"
        return Told(question=question, text="", request_ids=())
    assert whole.status_code == streamed.status_code == 200, f"question {number}: {whole.text[:200]}"
    (choice,) = whole.json()["choices"]
    text = choice["message"]["content"] if "message" in choice else choice["text"]
    pieces = read_stream(streamed.content, num_choices=1)
    assert pieces.error is None, f"question {number}: {pieces.error}"
    assert pieces.texts[0] == text, f"question {number}: in pieces {pieces.texts[0]!r}, whole {text!r}"
    ids = tuple(each.headers["X-Request-Id"] for each in (whole, streamed))
    return Told(question=question, text=text, request_ids=ids)


def _post(client: httpx.Client, path: str, body: dict[str, Any]) -> httpx.Response:
    # In ASCII, so that half a pair of surrogates can be sent at all.
    return client.post(path, content=json.dumps(body), headers={"Content-Type": "application/json"})


def _check_row(told: Told, row: StoredExchange) -> None:
    """Fail unless the text is what the tokens of the answer say, and nothing else: not a character of the prompt."""
    name = f"{told.question.kind} {row.request.request_id}"
    assert row.answer is not None, f"{name} has no answer"
    (output,) = row.answer.outputs
    assert output.text == told.text, f"{name}: {output.text!r} is stored, {told.text!r} was told"
    written = VOCABULARY.decode_bytes(output.token_ids).decode("utf-8", errors="replace").replace("\0", _UNKNOWN)
    assert told.text == written, f"{name}: {told.text!r} was told, the tokens say {written!r}"
    forced = told.question.answer
    assert forced is None or told.text == forced, f"{name}: {told.text!r} was told, {forced!r} was the only choice"


CELLS = (
    Cell(
        number="G22",
        fault="10,000 prompts of emoji and what joins them, CJK, right-to-left text, marks, cut characters, NUL; each "
        "streamed and whole, some with an answer that is forced to be such a text",
        passes_if="the pieces of the stream are the whole answer; both are what the generated tokens say, nothing "
        "of the prompt; U+FFFD only for NUL and for bytes that are no UTF-8; NUL and lone surrogates are refused",
        trials=blocks("prompts", total=10_000, size=1_000),
        run=run,
        quick=("prompts 1-30",),
        trial_size="1,000 prompts",
    ),
)
