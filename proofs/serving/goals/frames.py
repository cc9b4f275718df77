"""G21: whatever goes wrong, wherever in a stream, the stream has exactly one ending, and then [DONE]."""

from __future__ import annotations

import asyncio
import errno
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import httpx
import openai

from banyan.core.errors import BanyanError, ConfigError, ContextLengthError, DataError, InputError, StoreError
from banyan.core.types import Completion, FinishReason
from banyan.runtime.loaded_model import LoadedModel
from banyan.runtime.loading import load
from banyan.serve.errors import unavailable
from banyan.serve.served_model import Piece, PieceListener
from banyan.store.sql_store import SqlStore, open_store
from banyan.store.types import RequestId, RequestState, StoredAnswer
from banyan.testing.serving import RunningServer, ScriptedModel, running_server
from proofs.evidence import Cell
from proofs.serving.goals.bench import MODEL_NAME, Bench
from proofs.serving.goals.stream_rules import read_stream

_PIECES = ("The ", "banyan ", "独木", "成林", " 🌳", "\u200d", " grows", "\n\n", "data: ", "[DONE]", " one", "!")
_PLACES = range(len(_PIECES) + 1)  # pieces that are said before it happens
_CHAT, _COMPLETIONS = "/v1/chat/completions", "/v1/completions"
_SECRET = "a secret of the server"
_WAIT_SECONDS = 30.0
_DEADLINE, _DELETED, _STORE, _DRAIN = "the deadline", "a deletion", "the store refuses the end", "the server shuts down"

ERRORS: dict[str, Callable[[], BaseException]] = {
    "RuntimeError": lambda: RuntimeError(_SECRET),
    "ValueError": lambda: ValueError(_SECRET),
    "KeyError": lambda: KeyError(_SECRET),
    "TypeError": lambda: TypeError(_SECRET),
    "ZeroDivisionError": lambda: ZeroDivisionError(_SECRET),
    "AssertionError": lambda: AssertionError(_SECRET),
    "MemoryError": lambda: MemoryError(_SECRET),
    "RecursionError": lambda: RecursionError(_SECRET),
    "OSError": lambda: OSError(errno.ENOSPC, _SECRET),
    "ConnectionResetError": lambda: ConnectionResetError(_SECRET),
    "TimeoutError": lambda: TimeoutError(_SECRET),
    "UnicodeDecodeError": lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, _SECRET),
    "ExceptionGroup": lambda: ExceptionGroup(_SECRET, [ValueError(_SECRET)]),
    "CancelledError": lambda: asyncio.CancelledError(_SECRET),
    "BanyanError": lambda: BanyanError(_SECRET),
    "InputError": lambda: InputError("this cannot be answered"),
    "ContextLengthError": lambda: ContextLengthError("too long", num_prompt_tokens=9, max_seq_len=8),
    "ConfigError": lambda: ConfigError("this cannot be done"),
    "DataError": lambda: DataError("this cannot be read"),
    "StoreError": lambda: StoreError(_SECRET),
    "ApiError": lambda: unavailable("queue_timeout", "nobody was free"),
}
_ENDS_AS = {
    "CancelledError": RequestState.CANCELLED,
    _DELETED: RequestState.CANCELLED,
    _DRAIN: RequestState.INTERRUPTED,
}


@dataclass(frozen=True, kw_only=True)
class Way:
    """One form of a stream, and the place where something goes wrong."""

    path: str
    num_choices: int
    includes_usage: bool
    num_pieces: int  # of the last choice, that are said before it happens

    def body(self, trial: str) -> dict[str, Any]:
        """Return what is asked."""
        asked: dict[str, Any] = {"prompt": "a"}
        if self.path == _CHAT:
            asked = {"messages": [{"role": "user", "content": "a"}]}
        limit = {"timeout_seconds": 0.03} if trial == _DEADLINE else {}
        options = {"stream_options": {"include_usage": True}} if self.includes_usage else {}
        return {"model": MODEL_NAME, "n": self.num_choices, "stream": True, **asked, **limit, **options}


class Script:
    """What the choices say: the last one meets what goes wrong, the first ends well, one between waits."""

    def __init__(self, trial: str, way: Way) -> None:
        self._trial = trial
        self._way = way
        self._num_begun = 0
        self.said: dict[int, str] = {}  # by choice, so far
        self.waits = threading.Event()  # the last choice has said all it says

    async def __call__(self, listener: PieceListener) -> Completion:
        """Speak for one choice."""
        choice, self._num_begun = self._num_begun, self._num_begun + 1
        is_last = choice == self._way.num_choices - 1
        for piece in _PIECES[: self._way.num_pieces] if is_last else _PIECES:
            self.said[choice] = self.said.get(choice, "") + piece
            listener(Piece(text=piece, tokens=((5, -1.0),)))
            await asyncio.sleep(0)
        if is_last and self._trial in ERRORS:
            raise ERRORS[self._trial]()
        if (is_last or choice == 1) and self._trial != _STORE:
            if is_last:
                self.waits.set()
            await asyncio.sleep(3600)
        return Completion(token_ids=(5,), finish_reason=FinishReason.STOP)


class RefusingStore:
    """A store that keeps everything but whole answers."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def finish(self, request_id: RequestId, answer: StoredAnswer) -> Future[None]:
        """Refuse a whole answer."""
        if answer.state is not RequestState.COMPLETED:
            return self._store.finish(request_id, answer)
        refused: Future[None] = Future()
        refused.set_exception(StoreError(_SECRET))
        return refused


@dataclass(kw_only=True)
class Stage:
    """A server, and the script that its model follows at the moment."""

    server: RunningServer
    client: httpx.Client
    plays: list[Script] = field(default_factory=list)  # the newest is played


@contextmanager
def _stage(loaded: LoadedModel, store: SqlStore, trial: str) -> Iterator[Stage]:
    plays: list[Script] = []

    async def play(listener: PieceListener) -> Completion:
        return await plays[-1](listener)

    kept: Any = RefusingStore(store) if trial == _STORE else store
    drain = {"drain_seconds": 0.01} if trial == _DRAIN else {}
    with running_server(ScriptedModel(loaded, play), kept, **drain) as server, server.client() as client:
        yield Stage(server=server, client=client, plays=plays)


@dataclass(frozen=True, kw_only=True)
class Played:
    """One stream that came to its end."""

    name: str
    request_id: str
    said: dict[int, str]  # by the model, by choice
    code: str  # of the error that the client was told


def run(bench: Bench, trial: str) -> str:
    """Let one thing go wrong at every place of a stream, in every form of stream."""
    ways = list(_ways(trial))
    folder = bench.place(f"G21-{trial}")
    with load(bench.model, device="cpu", num_slots=2) as loaded, open_store(bench.database("SQLite", folder)) as store:
        if trial == _DRAIN:  # each stream is the last one of its server
            played = [own for way in ways for own in _play_all(loaded, store, trial, [way])]
        else:
            played = _play_all(loaded, store, trial, ways)
        for own in played:
            _check_row(store, trial, own)
    return f"{len(played)} streams, each with one ending and [DONE]"


def _ways(trial: str) -> Iterator[Way]:
    numbers, usages = ((1,), (False,)) if trial == _DRAIN else ((1, 3), (False, True))
    for path, num_choices, usage, place in product((_CHAT, _COMPLETIONS), numbers, usages, _PLACES):
        yield Way(path=path, num_choices=num_choices, includes_usage=usage, num_pieces=place)


def _play_all(loaded: LoadedModel, store: SqlStore, trial: str, ways: Sequence[Way]) -> list[Played]:
    """Play some streams on one server, and wait until it has written down how they ended."""
    with _stage(loaded, store, trial) as stage:
        played = [_play(stage, trial, way) for way in ways]
        if trial in ERRORS:
            _official_client_hears(stage, trial)
        deadline = time.monotonic() + _WAIT_SECONDS
        while trial != _DRAIN and any(store.queries.show(own.request_id).answer is None for own in played):
            assert time.monotonic() < deadline, "there are rows that never end"
            time.sleep(0.05)
    return played


def _play(stage: Stage, trial: str, way: Way) -> Played:
    """Play one stream, and hold what the client was told against the rules and what was said."""
    script = Script(trial, way)
    stage.plays.append(script)
    raw, request_id = _listen(stage, script, trial, way)
    stream = read_stream(raw, num_choices=way.num_choices)
    name = f"{trial} after {way.num_pieces} pieces ({way})"
    assert stream.error is not None, f"{name}: it ended well"
    assert _SECRET.encode() not in raw, f"{name}: the stream tells what went wrong inside"
    told = {choice: text for choice, text in stream.texts.items() if text}
    assert told == script.said, f"{name}: the client was told {told}, the model said {script.said}"
    return Played(name=name, request_id=request_id, said=script.said, code=stream.error["code"])


def _check_row(store: SqlStore, trial: str, played: Played) -> None:
    """Fail unless the database keeps what was said, and that it ended as the client was told."""
    row = store.queries.show(played.request_id)
    wanted = _ENDS_AS.get(trial, RequestState.FAILED)
    assert row.answer is not None and row.state is wanted, f"{played.name}: {row.state}, not {wanted}"
    kept = {output.choice_index: output.text for output in row.answer.outputs}
    assert kept == played.said, f"{played.name}: the database keeps {kept}, the model said {played.said}"
    if wanted is RequestState.FAILED:
        assert row.answer.error_code == played.code, f"{played.name}: {row.answer.error_code}, told {played.code}"


def _listen(stage: Stage, script: Script, trial: str, way: Way) -> tuple[bytes, str]:
    """Ask, do what the trial does from outside, and return the whole stream and the id of the request."""
    with stage.client.stream("POST", way.path, json=way.body(trial)) as response:
        request_id = response.headers["X-Request-Id"]
        assert response.status_code == 200, f"{trial}: {response.status_code} {response.read()[:200]!r}"
        if trial in (_DELETED, _DRAIN):
            assert script.waits.wait(_WAIT_SECONDS), "the script was never played"
        if trial == _DELETED:
            done = stage.client.delete(f"/v1/outputs/{request_id}").json()
            assert done["cancelled"], f"{done} instead of a deletion"
        elif trial == _DRAIN:
            stage.server.thread.tell_to_stop()
        return response.read(), request_id


def _official_client_hears(stage: Stage, trial: str) -> None:
    """Fail unless the official client raises in the middle of such a stream."""
    way = Way(path=_CHAT, num_choices=1, includes_usage=False, num_pieces=5)
    stage.plays.append(Script(trial, way))
    with openai.OpenAI(base_url=f"{stage.server.url}/v1", api_key=stage.server.key, max_retries=0) as official:
        try:
            for _ in official.chat.completions.create(**way.body(trial)):
                pass
        except openai.APIError:
            return
    raise AssertionError(f"{trial}: the official client took half an answer for a whole one")


CELLS = (
    Cell(
        number="G21",
        fault=f"{len(ERRORS)} kinds of error, a deadline, a deletion, a refused commit and a shutdown, each after "
        f"every piece of a stream of {len(_PIECES)}; chat and completions, 1 and 3 choices, with and without usage",
        passes_if="for each choice exactly one of finishing chunk and error frame, then [DONE]; what was said is told "
        "and kept to the last piece; the official client raises",
        trials=(*ERRORS, _DEADLINE, _DELETED, _STORE, _DRAIN),
        run=run,
        quick=("RuntimeError",),
        trial_size="104 streams (the shutdown: 26)",
    ),
)
