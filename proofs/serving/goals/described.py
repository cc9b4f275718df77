"""Requests drawn by schemathesis from a server's own description: what it allows, and what it does not."""

from __future__ import annotations

import copy
import itertools
import random
import time
import unittest
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import hypothesis
import requests
from hypothesis import HealthCheck, Phase
from hypothesis.strategies import SearchStrategy

from proofs.evidence import NotPossibleHereError
from proofs.serving.goals.wire import MAX_SECONDS, Answer

_AT_A_TIME = 50  # requests of one operation and one mode in a row


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """One request, and what came back."""

    what: str  # mode, method and path
    mode: str  # positive or negative
    sent: bytes  # the body
    answer: Answer | None
    problem: str = ""  # why there is no answer
    seconds: float = 0.0


def ask_as_described(document: Mapping[str, Any], url: str, *, key: str, seed: int, number: int) -> list[Asked]:
    """Send so many requests, by turns to every operation of the description.

    Raises: NotPossibleHereError without schemathesis.
    """
    asked: list[Asked] = []
    with requests.Session() as session:
        session.trust_env = False

        def ask(case: Any, mode: str) -> None:
            if len(asked) < number:
                asked.append(_send(case, mode, url, key=key, session=session))

        for turn, (mode, strategy) in enumerate(_strategies(document, seed=seed)):
            _draw(strategy, lambda case, mode=mode: ask(case, mode), seed=seed * 1_000 + turn)
            if len(asked) == number:
                return asked
    raise AssertionError("the description has no operations")


def _strategies(document: Mapping[str, Any], *, seed: int) -> Iterator[tuple[str, SearchStrategy[Any]]]:
    """Yield a strategy for every operation and mode, in an order of the seed's, again and again."""
    try:
        import schemathesis  # only proofs need it, and it takes a second to import
    except ImportError as error:
        raise NotPossibleHereError("needs schemathesis: pip install -e '.[dev]'") from error
    schema = schemathesis.openapi.from_dict(_without_keys(document))
    operations = [found.ok() for found in schema.get_all_operations()]
    pairs = [(mode, operation) for mode in schemathesis.GenerationMode for operation in operations]
    random.Random(seed).shuffle(pairs)
    for mode, operation in itertools.cycle(pairs):
        yield mode.value, operation.as_strategy(generation_mode=mode)


def _without_keys(document: Mapping[str, Any]) -> dict[str, Any]:
    """Say nothing of keys: every request shows the right one, or half of what is wrong would be a wrong key."""
    told: dict[str, Any] = copy.deepcopy(dict(document))
    told["components"].pop("securitySchemes", None)
    for operation in (operation for methods in told["paths"].values() for operation in methods.values()):
        operation.pop("security", None)
    return told


def _draw(strategy: SearchStrategy[Any], ask: Callable[[Any], None], *, seed: int) -> None:
    """Draw some cases and hand over each; an operation without parameters has nothing to deny."""

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=_AT_A_TIME,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(strategy)
    def draw(case: Any) -> None:
        ask(case)

    with suppress(unittest.SkipTest, hypothesis.errors.Unsatisfiable):
        draw()


def _send(case: Any, mode: str, url: str, *, key: str, session: requests.Session) -> Asked:
    what, began = f"{mode} {case.method} {case.path}", time.perf_counter()
    sent = repr(case).encode("utf-8", "replace")
    try:
        response = case.call(
            base_url=url, session=session, headers={"Authorization": f"Bearer {key}"}, timeout=2 * MAX_SECONDS
        )
    except requests.RequestException as error:
        return Asked(what=what, mode=mode, sent=sent, answer=None, problem=repr(error))
    headers = {name.lower(): ", ".join(values) for name, values in response.headers.items()}
    answer = Answer(status=response.status_code, headers=headers, body=response.content)
    return Asked(what=what, mode=mode, sent=sent, answer=answer, seconds=time.perf_counter() - began)
