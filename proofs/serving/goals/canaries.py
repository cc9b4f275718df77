"""G17: what users write and which keys they show is in no log line, no metric and no error."""

from __future__ import annotations

import copy
import json
import logging
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import httpx

from banyan.runtime.loaded_model import LoadedModel
from banyan.serve.served_model import PieceListener
from banyan.store.sql_store import open_store
from banyan.testing.serving import ScriptedModel, running_server
from proofs.evidence import Cell
from proofs.serving.goals.bench import MODEL_NAME, TASK_NAMES, Bench, Server
from proofs.serving.served import tiny_loaded

_NUM_BLOCKS = 10
_NUM_WRONG = 400  # requests of a block that are refused
_NUM_CUT = 40
_LOG_LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ banyan[\w.]* \w+( \w+=(\"[^\x00-\x1f]*\"|\S+))* ?")
_ANNOUNCED = re.compile(r"serving \S+ at \S+ .*|key: bny_\S+ .*")
_LOGGERS = ("banyan", "uvicorn", "asyncio")  # those of a server; ours is the only one that `--debug` makes talk
_FORGED = "\n2026-01-01 00:00:00,000 ERROR banyan.serve forged key=1\n\x1b[31mred\x1b[0m\r"
Sent = tuple[str, str, dict[str, Any] | None]  # method, path, body


@dataclass(frozen=True, kw_only=True)
class Canaries:
    """Words that occur nowhere else; those of a key and of content may be told to nobody."""

    word: str

    @property
    def text(self) -> str:
        """A text with the word in it."""
        return f"the {self.word} sings 树"

    def is_in(self, text: str | bytes) -> bool:
        """Whether the word, in any case, is there."""
        found = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        return self.word in found.lower()


def told_to_nobody(bench: Bench, trial: str) -> str:
    """Write canaries wherever a caller can write, to a server that logs all it can, and look for them everywhere."""
    chance = random.Random(trial)
    canaries = Canaries(word=f"kanari{chance.getrandbits(64):016x}")
    with bench.server(f"G17-{trial}", "--debug") as server, server.client() as client:
        counts = [_ask_well(client, canaries), _ask_wrongly(client, canaries, chance)]
        counts.append(_write_elsewhere(server, client, canaries))
        metrics = client.get("/metrics").text
        assert 'path="/v1/chat/completions"' in metrics or "/v1/chat/completions" in metrics, metrics[:300]
        assert not canaries.is_in(metrics), "a metric holds what a user wrote"
        code = server.stop()
        assert code == 0, f"exit code {code}"
        num_lines = _check_what_it_said(server, canaries)
        num_files = _check_files(server, canaries)
    return f"{sum(counts)} requests, {num_lines} log lines and {num_files} files searched"


# ------------------------------------------------------------------------------- content in its right place


def _ask_well(client: httpx.Client, canaries: Canaries) -> int:
    """Ask everything with a canary as content; the canary comes back in answers, so the outputs hold it, too."""
    asked = list(_valid(canaries.text))
    for method, path, body in asked:
        answer = client.request(method, path, json=body)
        assert answer.status_code == 200, f"{path} {body}: {answer.status_code} {answer.text[:200]}"
    for is_streamed in (False, True):
        said = {"model": MODEL_NAME, "prompt": "a", "choices": [canaries.word], "max_tokens": 200}
        answer = client.post("/v1/completions", json={**said, "stream": is_streamed})
        assert canaries.is_in(answer.text) or is_streamed, "the model did not say what it was bound to say"
        judged = {"id": answer.headers["X-Request-Id"], "rating": 1, "comment": canaries.text}
        assert client.post("/v1/feedback", json={**judged, "correction": canaries.text}).status_code == 200
    found = client.get("/v1/outputs", params={"q": canaries.word, "limit": 100})
    assert canaries.is_in(found.text), "nothing of it was stored"
    return len(asked) + 5


def _valid(text: str) -> Iterator[Sent]:
    limits = {"model": MODEL_NAME, "max_tokens": 2}
    said = [{"role": "system", "content": text}, {"role": "user", "content": text, "name": text}]
    parts = [{"role": "user", "content": [{"type": "text", "text": text}]}]
    yield "POST", "/v1/chat/completions", {"messages": said, "user": text, "metadata": {"a": text}, **limits}
    yield "POST", "/v1/chat/completions", {"messages": parts, "stream": True, "stop": [text], **limits}
    yield "POST", "/v1/completions", {"prompt": [text, text], **limits}
    yield "POST", "/v1/completions", {"prompt": text, "stream": True, **limits}
    yield "POST", "/v1/embeddings", {"model": MODEL_NAME, "input": [text]}
    yield "POST", "/v1/images/generations", {"prompt": text}
    yield "POST", "/tokenize", {"prompt": text}
    yield "POST", "/tokenize", {"messages": said}
    yield "POST", "/admin/keys", {"name": text, "scopes": ["infer"]}
    for kind, given in _inputs(text).items():
        path = f"/v1/tasks/{TASK_NAMES[kind]}"
        yield "POST", path, {"input": given, **_short(kind)}
        yield "POST", path, {"inputs": [given, given], **_short(kind)}


def _inputs(text: str) -> dict[str, Any]:
    return {
        "language_modeling": {"text": text},
        "classification": {"text": text},
        "tagging": {"tokens": text.split()},
        "translation": {"translation": {"en": text}, "source_language": "en", "target_language": "zh"},
        "summarization": {"document": text},
        "question_answering": {"question": text, "context": f"{text} and more"},
        "dialogue": {"messages": [{"role": "user", "content": text}]},
        "image_generation": {"text": text},
    }


def _short(kind: str) -> dict[str, Any]:
    is_written = kind in ("language_modeling", "translation", "summarization", "dialogue")
    return {"max_tokens": 2} if is_written else {}


# ------------------------------------------------------------------------------- content in a wrong place


def _ask_wrongly(client: httpx.Client, canaries: Canaries, chance: random.Random) -> int:
    """Ask with content where it does not belong, of the wrong type, too long or cut off; no refusal quotes it."""
    bodies = [(path, body) for _, path, body in _valid(canaries.text) if body is not None]
    wrong = [(path, other) for path, body in bodies for other in _wrong_versions(body, canaries)]
    sent = [(path, json.dumps(body).encode()) for path, body in chance.sample(wrong, min(_NUM_WRONG, len(wrong)))]
    for path, body in chance.choices(bodies, k=_NUM_CUT):
        whole = json.dumps(body, ensure_ascii=False).encode()
        sent.append((path, whole[: chance.randrange(1, len(whole))]))
    num_refused = 0
    for path, content in sent:
        answer = client.post(path, content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code in (200, 400, 404), f"{path} {content[:300]!r}: {answer.status_code}"
        if answer.status_code != 200:
            num_refused += 1
            assert not canaries.is_in(answer.text), f"{path} {content[:300]!r} is refused with {answer.text}"
    assert num_refused > len(sent) // 4, f"only {num_refused} of {len(sent)} were refused"
    return len(sent)


def _wrong_versions(body: dict[str, Any], canaries: Canaries) -> Iterator[dict[str, Any]]:
    """Put something wrong that holds the canary in the place of everything that holds it, one at a time."""
    text = canaries.text
    instead = (
        {"a": text}, [text], [[text]], [5, text], [{"type": "text", "text": text, "x": 1}], text, f"{text}\0",
        text + "x" * 70_000, {"role": "user", "content": {"a": text}}, [{"text": text}, 5], {"document": [text]},
        {"messages": text}, {"messages": [{"role": "user", "content": [{"type": text}]}]}, {"text": {"a": text}},
        {"tokens": [text, 5], "text": "other"}, {"tokens": text.split(), "text": "other"}, {"image": text},
        {"question": text}, {"context": text, "question": [text]}, {"translation": {"en": [text]}},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": text}}]}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": f"data:{text}"}}]}]},
    )  # fmt: skip
    for place in _places(body, canaries):
        for value in instead:
            changed = copy.deepcopy(body)
            _put(changed, place, value)
            yield changed


def _places(value: Any, canaries: Canaries, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to each part of a body that holds the canary, the body itself left out."""
    if path and canaries.is_in(json.dumps(value)):
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from _places(item, canaries, (*path, key))


def _put(body: Any, path: tuple[Any, ...], value: Any) -> None:
    for key in path[:-1]:
        body = body[key]
    body[path[-1]] = value


# ------------------------------------------------------------------------------- keys, headers, paths


def _write_elsewhere(server: Server, client: httpx.Client, canaries: Canaries) -> int:
    """Write the canary, and a forged log line, into keys, headers, paths and queries."""
    word, number = canaries.word, 0
    for secret in (f"bny_{word}", word, server.key + word):
        answer = httpx.get(f"{server.url}/v1/models", headers={"Authorization": f"Bearer {secret}"})
        number += 1
        assert answer.status_code == 401 and not canaries.is_in(answer.text), answer.text
    for name in ("User-Agent", "Cookie", "X-Client-Request-Id", "Idempotency-Key", "Referer", f"X-{word}"):
        asked = {"model": MODEL_NAME, "prompt": "a", "max_tokens": 1, "n": 99}
        answer = client.post("/v1/completions", json=asked, headers={name: word})
        number += 1
        assert answer.status_code == 400 and not canaries.is_in(answer.text), answer.text
    escaped = httpx.QueryParams({"x": _FORGED})
    for path in (f"/v1/{word}", f"/v1/outputs/{word}", f"/assets/{word}", f"/v1/runs/{word}", f"/{word}/%0A{escaped}"):
        for method in ("GET", "POST", "DELETE"):
            answer = client.request(method, path)
            number += 1
            assert answer.status_code in (404, 405) and not canaries.is_in(answer.text), f"{path}: {answer.text}"
    # Names of what is asked for are told back to whoever asked, and written down nowhere.
    for path in (f"/v1/models/{word}%0A{escaped}", f"/v1/tasks?model={word}", f"/v1/outputs?{word}=1&{escaped}"):
        assert client.get(path).status_code in (400, 404), path
        number += 1
    for name in (word, word + _FORGED):
        for path, body in (("/v1/completions", {"model": name, "prompt": "a"}), (f"/v1/tasks/{word}", {"input": "a"})):
            assert client.post(path, json=body).status_code in (400, 404)
            number += 1
    return number


# ------------------------------------------------------------------------------- errors inside


def nothing_of_errors(bench: Bench, trial: str) -> str:
    """Let the model fail with errors that quote the user; clients and the log are told where, and nothing else."""
    canaries = Canaries(word=f"kanari{random.Random(trial).getrandbits(64):016x}")
    folder, log, number = bench.place(f"G17-{trial}"), StringIO(), 0
    handler = logging.StreamHandler(log)
    logging.getLogger().addHandler(handler)
    before = {name: logging.getLogger(name).level for name in _LOGGERS}
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.DEBUG)
    try:
        with tiny_loaded(folder) as loaded:
            for error in _errors(canaries):
                number += _fail_with(loaded, error, folder, canaries)
    finally:
        logging.getLogger().removeHandler(handler)
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
    assert "internal_error" in log.getvalue(), "the log does not know of the errors"
    assert not canaries.is_in(log.getvalue()), "the log quotes what an error said"
    return f"{number} failures, {len(log.getvalue().splitlines())} log lines searched"


def _errors(canaries: Canaries) -> list[Exception]:
    return [
        RuntimeError(canaries.text),
        KeyError(canaries.text),
        UnicodeDecodeError("utf-8", canaries.text.encode(), 0, 1, canaries.text),
        FileNotFoundError(2, canaries.text, canaries.text),
        AssertionError(canaries.text),
        TypeError(canaries.text + _FORGED),
    ]


def _fail_with(loaded: LoadedModel, error: Exception, folder: Path, canaries: Canaries) -> int:
    """Answer nothing but an error, before and within a stream and without one."""

    async def script(_: PieceListener) -> Any:
        raise error

    asked = {"model": "tiny", "prompt": canaries.text, "max_tokens": 4}
    with (
        open_store(f"sqlite:///{folder / 'failing.db'}") as store,
        running_server(ScriptedModel(loaded, script), store) as server,
        server.client() as client,
    ):
        whole = client.post("/v1/completions", json=asked)
        streamed = client.post("/v1/completions", json={**asked, "stream": True})
    assert whole.status_code == 500 and "internal_error" in streamed.text, f"{whole.text} {streamed.text}"
    assert not canaries.is_in(whole.text) and not canaries.is_in(streamed.text), f"{whole.text} {streamed.text}"
    return 2


# ------------------------------------------------------------------------------- what the server left behind


def _check_what_it_said(server: Server, canaries: Canaries) -> int:
    """Search the log, and see that each of its lines is one event, whatever users wrote."""
    said = server.said()
    assert not canaries.is_in(said), "the log holds what a user wrote"
    assert server.key not in said, "the log holds a key"
    lines = said.splitlines()
    strange = [line for line in lines if not (_LOG_LINE.fullmatch(line) or _ANNOUNCED.fullmatch(line))]
    assert not strange, f"lines that are no event: {strange[:3]}"
    assert len(lines) > 3 and any("DEBUG" in line or "INFO" in line for line in lines), "it did not log all it can"
    return len(lines)


def _check_files(server: Server, canaries: Canaries) -> int:
    """Search everything else it wrote: content is in the database alone, and the keys are not even there."""
    paths = [path for path in server.folder.rglob("*") if path.is_file()]
    for path in paths:
        content = path.read_bytes()
        assert server.key.encode() not in content, f"{path.name} holds a key"
        assert path.name.startswith("banyan.db") or not canaries.is_in(content), f"{path.name} holds what a user wrote"
    return len(paths)


_BLOCKS = tuple(f"block {number}" for number in range(_NUM_BLOCKS))


def run(bench: Bench, trial: str) -> str:
    """Do one trial."""
    return nothing_of_errors(bench, trial) if trial == "errors inside" else told_to_nobody(bench, trial)


CELLS = (
    Cell(
        number="G17",
        fault="canaries in keys, prompts, outputs, headers, paths, in right and wrong places, and in what errors "
        "inside say; newlines and terminal codes among them; the log at its most talkative",
        passes_if="in no log line, metric or error body; every log line is one event; keys not even in the database",
        trials=("errors inside", *_BLOCKS),
        quick=("errors inside", _BLOCKS[0]),
        run=run,
        trial_size="about 500 requests",
    ),
)
