"""The matrix of serving goals is whole, its page names every row, and its ledger misses nothing that is lost."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from banyan.store.types import RequestState, StoredAnswer, StoredExchange, StoredOutput
from banyan.testing.store import tiny_request
from proofs.serving.goals.asking import Asking, answer_text, askings, hash_of, stored_text
from proofs.serving.goals.ledger import Attempt, Ledger, compare
from proofs.serving.goals.matrix import CELLS

COMPLETION = Asking(path="/v1/completions", body={"prompt": "a", "stream": True})


def _row(label: str = "a-0-0", *, text: str = "tree", state: RequestState = RequestState.COMPLETED) -> StoredExchange:
    request = tiny_request(request_id=f"R-{label}", client_request_id=label)
    is_open = state in (RequestState.ACCEPTED, RequestState.RUNNING)
    answer = None if is_open else StoredAnswer(state=state, outputs=(StoredOutput(text=text),))
    return StoredExchange(request=request, state=state, answer=answer)


def _attempt(label: str = "a-0-0", **changes: Any) -> Attempt:
    seen = {"request_id": f"R-{label}", "status": 200, "is_whole": True, "text_sha256": hash_of('["tree"]')}
    return Attempt(attempt_id=label, **{**seen, **changes})


BROKEN = {"is_whole": False, "text_sha256": ""}
KEYED = {"idempotency_key": "k"}


@pytest.mark.parametrize(
    ("attempts", "rows", "problem"),
    [
        ([_attempt()], [_row()], None),
        ([_attempt(**BROKEN)], [_row(state=RequestState.INTERRUPTED)], None),
        ([_attempt(**BROKEN, status=None, request_id=None)], [], None),
        ([_attempt(**BROKEN, status=503)], [], None),
        ([_attempt()], [], "has no row"),
        ([_attempt()], [_row(text="three")], "something else than is stored"),
        ([_attempt()], [_row(state=RequestState.INTERRUPTED)], "its row is interrupted"),
        ([_attempt(**BROKEN)], [_row(state=RequestState.RUNNING)], "is running"),
        ([_attempt(), _attempt("b", request_id="R-a-0-0")], [_row()], "has the row of a-0-0"),
        ([_attempt()], [_row(), _row("c")], "nobody asked for"),
        ([_attempt(**KEYED), _attempt("b", **KEYED, is_replayed=True, request_id="new")], [_row()], None),
        (
            [_attempt(**KEYED), _attempt("b", **KEYED, is_replayed=True, text_sha256="other")],
            [_row()],
            "is not stored",
        ),
    ],
)
def test_the_ledger_notices_what_is_lost_doubled_or_changed(
    attempts: list[Attempt], rows: list[StoredExchange], problem: str | None
) -> None:
    found = compare(attempts, rows)
    if problem is None:
        found.check()
    else:
        with pytest.raises(AssertionError, match=problem):
            found.check()


def test_a_label_with_two_rows_is_noticed() -> None:
    second = StoredExchange(
        request=tiny_request(client_request_id="a-0-0"), state=RequestState.COMPLETED, answer=StoredAnswer()
    )
    assert "attempt a-0-0 has 2 rows" in compare([_attempt()], [_row(), second]).problems


def test_what_was_written_down_is_read_back(tmp_path: Path) -> None:
    attempts = [_attempt(), _attempt("b", problem="cut off")]
    with Ledger(tmp_path / "ledger.jsonl") as ledger:
        for attempt in attempts:
            ledger.note(attempt)
    assert ledger.attempts() == attempts


def _stream(*events: Any, has_end: bool = True) -> bytes:
    frames = [f"data: {json.dumps(event)}" for event in events] + ["data: [DONE]"] * has_end
    return b": ping\n\n" + "".join(f"{frame}\n\n" for frame in frames).encode()


def test_only_a_stream_with_its_end_and_without_an_error_is_a_whole_answer() -> None:
    pieces = [{"choices": [{"index": index, "text": text}]} for index, text in ((0, "tr"), (1, "🌳"), (0, "ee"))]
    assert answer_text(COMPLETION, _stream(*pieces)) == json.dumps(["tree", "🌳"])
    assert answer_text(COMPLETION, _stream(*pieces, has_end=False)) is None
    assert answer_text(COMPLETION, _stream(*pieces, {"error": {"code": "x"}})) is None


def test_answer_and_row_come_to_one_form() -> None:
    answer = {"choices": [{"index": 1, "text": "b"}, {"index": 0, "text": "a"}]}
    outputs = (StoredOutput(text="a"), StoredOutput(choice_index=1, text="b"))
    row = StoredExchange(request=tiny_request(), state=RequestState.COMPLETED, answer=StoredAnswer(outputs=outputs))
    asking = Asking(path="/v1/completions", body={})
    assert answer_text(asking, json.dumps(answer).encode()) == stored_text(row)


def test_half_of_the_requests_are_streamed_and_all_kinds_take_part() -> None:
    asked = list(islice(askings("x"), 400))
    assert sum(asking.is_streamed for asking in asked) == 200
    assert len({asking.path for asking in asked}) == 4 + 5
    assert asked == list(islice(askings("x"), 400)) != list(islice(askings("y"), 400))


def test_every_row_has_its_trials_and_its_place_on_the_page() -> None:
    page = (Path(__file__).parent.parent / "docs/proofs/serving-goals.md").read_text("utf-8")
    numbers = [cell.number for cell in CELLS]
    assert len(set(numbers)) == len(numbers)
    assert all(len(set(cell.trials)) == cell.size > 0 for cell in CELLS)
    assert all(f"| {number} |" in page for number in numbers)
