"""The proofs of what strangers may send, write and offer are the same every time, and notice what must not be."""

from __future__ import annotations

import json
from typing import Any

import pytest

from banyan.testing.tasks import VOCABULARY
from proofs.serving.goals import canaries, hostile, special_tokens
from proofs.serving.goals.mutations import mutated, valid_requests
from proofs.serving.goals.wire import Answer, complaint_about

ID = {"x-request-id": "0" * 26}
ERROR: dict[str, Any] = {"message": "m", "type": "t", "param": None, "code": "c"}


def test_the_same_number_is_the_same_damage() -> None:
    seeds = valid_requests("key", tasks=["topic"], model="tiny")
    assert len(seeds) > 35 and all(seed.endswith((b"}", b"\r\n\r\n")) for seed in seeds)
    first, again = ([mutated(seeds, number) for number in range(300)] for _ in range(2))
    assert first == again and len(set(first)) > 250
    assert special_tokens.hostile_text(7) == special_tokens.hostile_text(7)


@pytest.mark.parametrize(
    ("status", "headers", "body", "asked", "problem"),
    [
        (200, {}, b"{}", b"", None),
        (400, ID, json.dumps({"error": ERROR}).encode(), b"", None),
        (400, ID, b"", b"HEAD", None),
        (503, {**ID, "retry-after": "2"}, json.dumps({"error": ERROR}).encode(), b"", None),
        (504, ID, json.dumps({"error": ERROR}).encode(), b'"timeout_seconds": 0.001', None),
        (200, {}, b'data: {"error": {"code": "internal_error"}}\n\ndata: [DONE]', b"", "internal error"),
        (500, ID, json.dumps({"error": ERROR}).encode(), b"", "status 500"),
        (504, ID, json.dumps({"error": ERROR}).encode(), b"", "status 504"),
        (503, ID, json.dumps({"error": ERROR}).encode(), b"", "without Retry-After"),
        (404, {}, json.dumps({"error": ERROR}).encode(), b"", "without a request id"),
        (404, ID, b'{"detail": "not found"}', b"", "another shape"),
        (404, ID, json.dumps({"error": {**ERROR, "param": 5}}).encode(), b"", "another shape"),
        (422, ID, b"<html>", b"", "another shape"),
    ],
)
def test_an_answer_that_may_not_be_is_noticed(
    status: int, headers: dict[str, str], body: bytes, asked: bytes, problem: str | None
) -> None:
    found = complaint_about(Answer(status=status, headers=headers, body=body), asked=asked)
    assert found is None if problem is None else problem in (found or "")


def test_a_control_token_among_a_users_tokens_is_noticed() -> None:
    with pytest.raises(AssertionError, match=r"holds \['<\|user\|>'\]"):
        special_tokens._nothing_reserved([5, VOCABULARY.user_id], VOCABULARY, what="x")
    with pytest.raises(AssertionError, match="a plain text"):
        special_tokens._same_control([VOCABULARY.user_id], [VOCABULARY.end_id], VOCABULARY, what="x")


def test_code_from_elsewhere_and_files_elsewhere_are_noticed() -> None:
    how: dict[str, Any] = {"caller": "/x/y.py", "trusted": ("/usr/lib",), "folder": "/trial"}
    assert hostile._is_odd("exec", (compile("1", "<string>", "exec"),), **how)
    assert not hostile._is_odd("exec", (compile("1", "/usr/lib/x.py", "exec"),), **how)
    assert hostile._is_odd("open", ("/tmp/banyan-was-here", "w", 0), **how)
    assert not hostile._is_odd("open", ("/trial/x", "w", 0), **how)
    assert not hostile._is_odd("open", ("/etc/hosts", "r", 0), **how)


@pytest.mark.parametrize(
    ("what", "may"),
    [
        ("pickle model.safetensors", False),
        ("pickle config.json", True),
        ("link config.json to /etc/passwd", False),
        ("json_value model.json num_layers -1", True),
    ],
)
def test_only_harm_to_what_is_not_read_may_leave_a_model(what: str, may: bool) -> None:
    assert hostile.may_open(what) is may


def test_every_wrong_request_holds_its_canary_and_every_log_line_is_one_event() -> None:
    birds = canaries.Canaries(word="kanari0")
    body = {"messages": [{"role": "user", "content": birds.text}]}
    wrong = list(canaries._wrong_versions(body, birds))
    assert len(wrong) > 60 and all(birds.is_in(json.dumps(one)) for one in wrong)
    line = '2026-01-01 00:00:00,000 INFO banyan.serve serving url=http://x needs_key=True name="a b"'
    assert canaries._LOG_LINE.fullmatch(line)
    assert not canaries._LOG_LINE.fullmatch(line + "\x1b[31m")
    assert not canaries._LOG_LINE.fullmatch("Traceback (most recent call last):")
