"""Clients that ask one server without pause, from several threads, and write down what they saw."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import TracebackType

from proofs.serving.goals.asking import Asking, answer_text, hash_of
from proofs.serving.goals.bench import Server
from proofs.serving.goals.ledger import Attempt, Ledger

_TIMEOUT_SECONDS = 60.0  # of silence
_PAUSE_SECONDS = 0.05  # after a refusal or a broken connection
_BROKEN = (OSError, http.client.HTTPException)


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """A request that is asked until it has a whole answer."""

    load: str  # the name of the load, so that those of one database do not get into each other's way
    number: int
    asking: Asking

    @property
    def idempotency_key(self) -> str | None:
        """Half of the requests, streamed and not, carry one."""
        return f"{self.load}-{self.number}" if self.number // 2 % 2 else None


class Load:
    """Asks a number of requests (None: until it is stopped) with several clients at once; each until it is answered.

    Within the block the clients run; at its end they are told to stop, and waited for. Loads that share a ledger or a
    database need names of their own.
    """

    def __init__(
        self,
        server: Server,
        ledger: Ledger,
        askings: Iterator[Asking],
        *,
        number: int | None = None,
        num_clients: int = 8,
        name: str = "a",
    ) -> None:
        self.name = name
        self._server = server
        self._ledger = ledger
        self._askings = enumerate(askings)
        self._number = number
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self._failure: BaseException | None = None  # a mistake of the proof's own
        self.num_answered = 0  # requests that have a whole answer
        self.last_answer_at = 0.0  # time.monotonic() of the newest whole answer
        self._threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(num_clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    @property
    def is_running(self) -> bool:
        """Whether any client has something left to do."""
        return any(thread.is_alive() for thread in self._threads)

    def wait_for_answers(self, number: int, *, timeout_seconds: float = 120.0) -> None:
        """Return when so many requests have been answered.

        Raises: AssertionError if that takes too long, or the clients end before.
        """
        deadline = time.monotonic() + timeout_seconds
        while self.num_answered < number:
            assert time.monotonic() < deadline, f"{self.num_answered} of {number} answers in {timeout_seconds:.0f} s"
            if not self.is_running:
                self.wait()
                raise AssertionError(f"the clients ended after {self.num_answered} of {number} answers")
            time.sleep(0.002)

    def stop(self) -> None:
        """Let every client finish what it asks for, and return when all have."""
        self._is_over.set()
        self.wait()

    def wait(self, *, timeout_seconds: float = 240.0) -> None:
        """Return when all clients have finished.

        Raises: AssertionError if they do not, or a client met what no client should.
        """
        deadline = time.monotonic() + timeout_seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        assert not self.is_running, f"the clients have not finished after {timeout_seconds:.0f} s"
        if self._failure is not None:
            raise self._failure

    def _run(self, client_number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=_TIMEOUT_SECONDS)
        try:
            while (wanted := self._next()) is not None:
                self._ask_until_answered(connection, wanted)
        except BaseException as error:
            self._failure = error
        finally:
            connection.close()

    def _next(self) -> Wanted | None:
        with self._lock:
            number, asking = next(self._askings)
            if self._is_over.is_set() or self._number is not None and number >= self._number:
                return None
            return Wanted(load=self.name, number=number, asking=asking)

    def _ask_until_answered(self, connection: http.client.HTTPConnection, wanted: Wanted) -> None:
        num_tries = 0
        while True:
            label = f"{wanted.load}-{wanted.number}-{num_tries}"
            attempt = Attempt(attempt_id=label, idempotency_key=wanted.idempotency_key)
            began = time.monotonic()
            attempt = ask(connection, wanted.asking, attempt, key=self._server.key)
            self._ledger.note(replace(attempt, seconds=round(time.monotonic() - began, 4)))
            if attempt.is_whole:
                with self._lock:
                    self.num_answered += 1
                    self.last_answer_at = time.monotonic()
                return
            if self._is_over.is_set():
                return
            num_tries += 1
            time.sleep(_PAUSE_SECONDS)


def ask(connection: http.client.HTTPConnection, asking: Asking, attempt: Attempt, *, key: str) -> Attempt:
    """Send one request and return the attempt with all that was seen of the answer."""
    headers = {
        "Authorization": f"Bearer {key}",
        "Content-Type": "application/json",
        "X-Client-Request-Id": attempt.attempt_id,
    }
    if attempt.idempotency_key is not None:
        headers["Idempotency-Key"] = attempt.idempotency_key
    try:
        connection.request("POST", asking.path, json.dumps(asking.body).encode(), headers)
        response = connection.getresponse()
    except _BROKEN as error:
        connection.close()
        return replace(attempt, problem=type(error).__name__)
    attempt = replace(
        attempt,
        request_id=response.getheader("X-Request-Id"),
        status=response.status,
        is_replayed=response.getheader("Idempotent-Replayed") == "true",
        retry_after=response.getheader("Retry-After"),
    )
    try:
        body = response.read()
    except _BROKEN as error:
        connection.close()
        return replace(attempt, problem=f"cut off: {type(error).__name__}")
    if response.will_close:
        connection.close()
    return _with_what_it_said(attempt, asking, body)


def _with_what_it_said(attempt: Attempt, asking: Asking, body: bytes) -> Attempt:
    if attempt.status != 200:
        return replace(attempt, problem=_code_of(body))
    text = answer_text(asking, body)
    if text is None:
        last = body.rstrip().rsplit(b"\n\n", 2)[-2:]
        return replace(attempt, problem=f"no end: {b' '.join(last)[-200:].decode(errors='replace')}")
    return replace(attempt, is_whole=True, text_sha256=hash_of(text))


def _code_of(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]["code"])
    except (ValueError, KeyError, TypeError):
        return f"not our error: {body[:100]!r}"
