import json
from typing import Any

import pytest

from banyan.store.audit import AuditEntry, RecordAudit
from banyan.store.dead_letters import dead_letter_json
from banyan.store.erasure import EraseRequests
from banyan.store.letter_contents import UnreadableLetterError, write_of
from banyan.store.operations import (
    AddFeedback,
    AddModel,
    BeginRequest,
    FinishRequest,
    NoteProgress,
    RecordExchange,
)
from banyan.store.rows import ChangeRow, PutRow, Together, WriteOperation
from banyan.store.schema import ApiKeyRow, IdempotentAnswerRow
from banyan.store.types import RequestState, StoredAnswer, StoredArtifact, StoredFeedback, StoredOutput
from banyan.testing.store import tiny_request

HARD = "a\0b \ud800 独木成林"
PICTURE = StoredArtifact(media_type="image/png", data=b"\x89PNG\0\xff", width=8, height=8)
OUTPUT = StoredOutput(
    choice_index=1,
    text=HARD,
    prediction={"span": [1, 2], "label": HARD},
    token_ids=(0, 2**31 - 1),
    artifacts=(PICTURE,),
)
BEGIN = BeginRequest(request=tiny_request(sources=({"text": HARD}, {"text": "b"}), num_choices=2), instance_id="here")
ONE = BeginRequest(request=tiny_request(source={"text": HARD}, params={"stop": [HARD]}), instance_id="here")
FINISH = FinishRequest(
    request_id="r", answer=StoredAnswer(state=RequestState.FAILED, outputs=(OUTPUT,), http_status=503, finished_at=7)
)
KEPT = PutRow(table=IdempotentAnswerRow, values={"request_id": "r", "content": b"\0\xff", "created_at": 1})
WRITES: list[WriteOperation] = [
    BEGIN,
    ONE,
    FINISH,
    RecordExchange(begin=BEGIN, finish=FINISH),
    NoteProgress(request_id="r", text=HARD, at=3),
    AddFeedback(feedback=StoredFeedback(request_id="r", choice_index=2, correction=HARD)),
    AddModel(name="tiny", sha256="ab", at=1, tasks=("mt", "qa"), num_parameters=5),
    AddModel(name="tiny", sha256="ab", at=1),
    RecordAudit(entry=AuditEntry(actor="cli", action="key.create", detail={"n": 1}, at=4)),
    EraseRequests(request_ids=("a", "b"), actor="cli", reason="asked", at=5),
    KEPT,
    Together(operations=(FINISH, KEPT)),
]


@pytest.mark.parametrize("write", WRITES, ids=lambda write: type(write).__name__)
def test_of_a_letter_the_same_write_is_made_again(write: WriteOperation) -> None:
    assert write_of(type(write).__name__, dead_letter_json(write), instance_id="here") == write


def test_an_answer_that_was_written_with_its_kept_copy_before_parts_had_names_can_be_read() -> None:
    old = {"together": [json.loads(dead_letter_json(part)) for part in (FINISH, KEPT)]}
    assert write_of("Together", json.dumps(old), instance_id="here") == Together(operations=(FINISH, KEPT))


@pytest.mark.parametrize(
    ("source", "payload", "reason"),
    [
        ("BeginRequest", '{"unwritable": "RecursionError"}', "all that was to be written (RecursionError)"),
        ("BeginRequest", dead_letter_json(BeginRequest(request=tiny_request(params={"a": object()}), instance_id="x")),
         "all that was to be written (object)"),
        ("BeginRequest", '{"colour": "red"}', "not that of BeginRequest (TypeError)"),
        ("FinishRequest", "{}", "not that of FinishRequest (KeyError)"),
        ("FinishRequest", "[]", "not that of FinishRequest (AttributeError)"),
        ("AddModel", "{broken", "not that of AddModel (JSONDecodeError)"),
        ("PutRow", '{"table": "nowhere", "values": {}}', "not that of PutRow (KeyError)"),
        ("ChangeRow", dead_letter_json(ChangeRow(table=ApiKeyRow, key={"id": "k"}, values={"last_used_at": 1})),
         "ChangeRow changes what may have changed since"),
    ],
)  # fmt: skip
def test_a_letter_that_does_not_hold_a_write_says_why(source: str, payload: Any, reason: str) -> None:
    with pytest.raises(UnreadableLetterError) as caught:
        write_of(source, payload, instance_id="here")
    assert reason in caught.value.message
