"""G20: the official client reads the same answer in a stream and whole, and finds every shape as it expects it."""

from __future__ import annotations

import asyncio
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import openai
from openai.types import Completion, CompletionUsage
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from proofs.evidence import Cell
from proofs.serving.goals.bench import MODEL_NAME, Bench, Server
from proofs.serving.goals.blocks import blocks, numbers_of
from proofs.serving.requests import SYSTEM, WORDS
from proofs.source_copy import ROOT

_ASSERTIONS = "assertions of tests/serve"
_TEST_FILES = ("conftest.py", "test_openai_client.py", "test_openai_retries.py")
_LEAST_ASSERTIONS = 120
_COUNTED = re.compile(r"(\d+) assertions held")
_WAYS: tuple[dict[str, Any], ...] = (
    {"temperature": 0},
    {"temperature": 1.0},
    {"temperature": 1.2, "top_p": 0.9},
    {"temperature": 0.8, "presence_penalty": 0.5, "frequency_penalty": 0.3},
    {"temperature": 1.0, "stop": ["e", "的"]},
    {"temperature": 1.0, "logit_bias": {"100": 3, "101": -100}},
)


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What a client was told, by index of the choice."""

    texts: tuple[str, ...]
    reasons: tuple[str | None, ...]
    log_probs: tuple[Any, ...]
    usage: CompletionUsage | None


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """What is asked, the same streamed and whole."""

    is_chat: bool
    fields: dict[str, Any]


def prompt_of(number: int) -> Prompt:
    """Return the prompt of a number, always the same one."""
    draw = random.Random(f"prompt {number}")
    text = " ".join(draw.choices(WORDS, k=draw.randint(1, 12)))
    fields = {"model": MODEL_NAME, "seed": number, "max_tokens": draw.randint(1, 24), "n": draw.randint(1, 2)}
    fields |= draw.choice(_WAYS)
    if draw.random() < 0.5:
        return Prompt(is_chat=False, fields={**fields, "prompt": text})
    messages = [{"role": "user", "content": text}]
    if draw.random() < 0.3:
        messages.insert(0, {"role": "system", "content": SYSTEM})
    scored = {"logprobs": True, "top_logprobs": draw.randint(0, 3)} if draw.random() < 0.5 else {}
    return Prompt(is_chat=True, fields={**fields, **scored, "messages": messages})


def run(bench: Bench, trial: str) -> str:
    """Do one trial."""
    if trial == _ASSERTIONS:
        return _count_assertions(bench)
    numbers = numbers_of(trial)
    with bench.server(f"G20-{trial}") as server:
        different = [*_different(server, numbers[::2]), *asyncio.run(_different_to_async(server, numbers[1::2]))]
    assert not different, f"{len(different)} of {len(numbers)} differ: {different[:2]}"
    return f"{len(numbers)} prompts streamed and whole, half of them by the asynchronous client: all equal"


def _count_assertions(bench: Bench) -> str:
    """Run the tests of the official client, freshly compiled so that each assertion reports itself, and count."""
    folder = bench.place("G20-assertions")
    for name in _TEST_FILES:
        shutil.copy(ROOT / "tests/serve" / name, folder)
    hook = ["-o", "enable_assertion_pass_hook=true", "-p", "proofs.serving.goals.assertion_count"]
    words = [sys.executable, "-m", "pytest", str(folder), f"--rootdir={folder}", "-q", *hook]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-600:]
    found = _COUNTED.search(done.stdout)
    number = int(found[1]) if found else 0
    assert number >= _LEAST_ASSERTIONS, f"only {number} assertions held"
    return f"{number} assertions held with openai {openai.__version__}"


def _different(server: Server, numbers: Sequence[int]) -> list[str]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.key, max_retries=0) as client:
        found = []
        for number in numbers:
            prompt = prompt_of(number)
            create: Any = client.chat.completions.create if prompt.is_chat else client.completions.create
            whole = create(**prompt.fields)
            chunks = list(create(**prompt.fields, stream=True, stream_options={"include_usage": True}))
            found += _difference(number, whole, chunks)
        return found


async def _different_to_async(server: Server, numbers: Sequence[int]) -> list[str]:
    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key=server.key, max_retries=0) as client:
        found = []
        for number in numbers:
            prompt = prompt_of(number)
            create: Any = client.chat.completions.create if prompt.is_chat else client.completions.create
            whole = await create(**prompt.fields)
            stream = await create(**prompt.fields, stream=True, stream_options={"include_usage": True})
            found += _difference(number, whole, [chunk async for chunk in stream])
        return found


def _difference(number: int, whole: Any, chunks: Sequence[Any]) -> list[str]:
    told, heard = _of_whole(whole), _of_chunks(chunks, num_choices=len(whole.choices))
    return [] if told == heard else [f"prompt {number}: whole {told}, in pieces {heard}"]


def _of_whole(answer: ChatCompletion | Completion) -> Heard:
    choices = answer.choices
    return Heard(
        texts=tuple((own.message.content or "") if hasattr(own, "message") else own.text for own in choices),
        reasons=tuple(own.finish_reason for own in choices),
        log_probs=tuple(_scores(own) for own in choices),
        usage=_without_memory(answer.usage),
    )


def _of_chunks(chunks: Sequence[ChatCompletionChunk | Completion], *, num_choices: int) -> Heard:
    """Put a stream together; raises AssertionError if it is not of the shape that the protocol has."""
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1, "another head within a stream"
    *pieces, last = chunks
    assert not last.choices and all(chunk.usage is None for chunk in pieces), "usage is not at the end alone"
    own = [[choice for chunk in pieces for choice in chunk.choices if choice.index == n] for n in range(num_choices)]
    ends = [[choice.finish_reason for choice in choices if choice.finish_reason] for choices in own]
    assert [len(reasons) for reasons in ends] == [1] * num_choices, f"not one ending for each choice: {ends}"
    assert all(choices[-1].finish_reason for choices in own), "a choice goes on after its ending"
    return Heard(
        texts=tuple("".join(map(_piece, choices)) for choices in own),
        reasons=tuple(reasons[0] for reasons in ends),
        log_probs=tuple([score for choice in choices for score in _scores(choice)] for choices in own),
        usage=_without_memory(last.usage),
    )


def _piece(choice: Any) -> str:
    return str((choice.delta.content or "") if hasattr(choice, "delta") else choice.text)


def _scores(choice: Any) -> list[Any]:
    """Return the log-probabilities of a choice of a chat, token by token."""
    content = getattr(choice.logprobs, "content", None)
    return list(content or ())


def _without_memory(usage: CompletionUsage | None) -> CompletionUsage | None:
    """Leave out how much of the prompt was remembered: the second asking remembers more."""
    return usage and usage.model_copy(update={"prompt_tokens_details": None})


CELLS = (
    Cell(
        number="G20",
        fault="500 prompts asked by the official openai client, streamed and whole with the same seed; our own tests "
        "of it, assertion by assertion",
        passes_if="texts, reasons, log-probabilities and usage are equal; one head, one ending for each choice, usage "
        f"at the end; at least {_LEAST_ASSERTIONS} assertions hold",
        trials=(*blocks("prompts", total=500, size=50), _ASSERTIONS),
        run=run,
        quick=("prompts 1-8",),
    ),
)
