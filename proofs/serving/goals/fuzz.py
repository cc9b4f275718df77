"""G9: a server that is sent what nobody should send answers all of it, in one shape, and goes on."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

from proofs.evidence import Cell
from proofs.serving.goals.bench import MODEL_NAME, TASK_NAMES, Bench, Server
from proofs.serving.goals.blocks import blocks, numbers_of
from proofs.serving.goals.described import Asked, ask_as_described
from proofs.serving.goals.mutations import mutated, valid_requests
from proofs.serving.goals.wire import MAX_SECONDS, Exchange, complaint_about, send_all

_NUM_DESCRIBED, _NUM_MUTATED, _BLOCK = 50_000, 100_000, 1_000
_DESCRIBED, _MUTATED = "described", "mutated"
_MUST_NOT_BE_SAID = ("internal_error", "Traceback", "never retrieved", "Exception in")


def run(bench: Bench, trial: str) -> str:
    """Send one block to a server of its own."""
    numbers = numbers_of(trial)
    with bench.server(f"G9-{trial}", "--model-root", str(bench.place("G9-models"))) as server:
        send = _send_described if trial.startswith(_DESCRIBED) else _send_mutated
        counts, problems = send(server, numbers)
        assert not problems, f"{len(problems)} of {len(numbers)}: {'; '.join(problems[:5])}"
        _still_well(server)
    return ", ".join(f"{count:,} × {what}" for what, count in sorted(counts.items()))


def _send_described(server: Server, numbers: range) -> tuple[Counter[str], list[str]]:
    with server.client() as client:
        document = client.get("/openapi.json").json()
    asked = ask_as_described(document, server.url, key=server.key, seed=numbers.start, number=len(numbers))
    counts = Counter(f"{one.mode} {one.answer.status if one.answer else 'no answer'}" for one in asked)
    return counts, [problem for one in asked if (problem := _problem_of_described(one))]


def _problem_of_described(asked: Asked) -> str | None:
    if asked.answer is None:
        return f"{asked.what}: {asked.problem}"
    if asked.seconds > MAX_SECONDS:
        return f"{asked.what}: answered after {asked.seconds:.1f} s"
    complaint = complaint_about(asked.answer, asked=asked.sent)
    return f"{asked.what}: {complaint}" if complaint else None


def _send_mutated(server: Server, numbers: range) -> tuple[Counter[str], list[str]]:
    seeds = valid_requests(server.key, tasks=list(TASK_NAMES.values()), model=MODEL_NAME)
    exchanges = asyncio.run(send_all("127.0.0.1", server.port, [mutated(seeds, number) for number in numbers]))
    counts = Counter(str(one.answer.status) if one.answer else one.end for one in exchanges)
    numbered = zip(numbers, exchanges, strict=True)
    return counts, [f"{number} {problem}" for number, one in numbered if (problem := _problem_of_exchange(one))]


def _problem_of_exchange(exchange: Exchange) -> str | None:
    """Return what is wrong with an exchange; a request that was never finished may end without an answer."""
    if exchange.answer is not None:
        complaint = complaint_about(exchange.answer, asked=exchange.sent)
    elif exchange.end == "closed" and not exchange.was_whole:
        complaint = None
    else:
        complaint = f"{exchange.end} without an answer after {exchange.seconds:.1f} s"
    return f"{complaint} to {exchange.sent[:300]!r}" if complaint else None


def _still_well(server: Server) -> None:
    """Check that the server still answers, has met nothing that it did not foresee, and ends as it should."""
    with server.client(timeout=MAX_SECONDS) as client:
        assert client.get("/readyz").status_code == 200, "it does not answer /readyz any more"
        asked = {"model": MODEL_NAME, "prompt": "a", "max_tokens": 2}
        assert client.post("/v1/completions", json=asked).status_code == 200, "it does not complete texts any more"
    code, said = server.stop(), server.said()
    assert code == 0, f"exit code {code}"
    assert not (found := [word for word in _MUST_NOT_BE_SAID if word in said]), f"it said {found}: {said[-800:]}"


def _first(trials: Sequence[str], what: str) -> str:
    return next(trial for trial in trials if trial.startswith(what))


_TRIALS = (
    *blocks(_DESCRIBED, total=_NUM_DESCRIBED, size=_BLOCK),
    *blocks(_MUTATED, total=_NUM_MUTATED, size=_BLOCK),
)

CELLS = (
    Cell(
        number="G9",
        fault=f"{_NUM_DESCRIBED:,} requests drawn by schemathesis from the server's own description, allowed and not, "
        f"NUL among them; {_NUM_MUTATED:,} damaged HTTP requests on bare sockets",
        passes_if="no 5xx but a 503 that says when to come back and the 504 of a deadline in the request; an answer "
        f"within {MAX_SECONDS:.0f} s; errors in one shape; /readyz, a completion and exit code 0 afterwards",
        trials=_TRIALS,
        quick=(_first(_TRIALS, _DESCRIBED), _first(_TRIALS, _MUTATED)),
        run=run,
        kind_of=lambda trial: trial.partition(" ")[0],
        trial_size=f"{_BLOCK:,} requests",
    ),
)
