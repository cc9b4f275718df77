"""What the proofs of serving look through: system calls in their order, a disk after a power failure, stream rules."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from proofs.serving.goals.blocks import blocks, numbers_of
from proofs.serving.goals.power_failure import Disk
from proofs.serving.goals.stream_rules import read_stream
from proofs.serving.goals.system_calls import read_calls

HEAD = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "tiny", "system_fingerprint": "ab"}


def chunk(index: int, text: str = "", reason: str | None = None) -> bytes:
    choice = {"index": index, "text": text, "finish_reason": reason}
    return b"data: " + json.dumps({**HEAD, "choices": [choice]}).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
ERROR = b'data: {"error": {"code": "timeout"}}\n\n'


def test_blocks_hold_every_attempt_once() -> None:
    names = blocks("prompts", total=250, size=100)
    assert names == ("prompts 1-100", "prompts 101-200", "prompts 201-250")
    assert [number for name in names for number in numbers_of(name)] == list(range(1, 251))


def test_calls_of_several_threads_are_read_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "calls").write_bytes(
        b'7 pwrite64(9</a/b.db-wal>, "a\\0\\377\\"\\n", 5, 32) = 5\n'
        b"8 fdatasync(9</a/b.db-wal> <unfinished ...>\n"
        b'7 sendto(4<socket:[1]>, "data: [DONE]\\n\\n", 14, 0, NULL, 0) = 14\n'
        b"7 read(4<socket:[1]>, 5) = 0\n"
        b"8 <... fdatasync resumed>) = 0\n"
        b"8 fdatasync(9</a/b.db-wal>) = -1 EIO (Input/output error)\n"
    )
    calls = list(read_calls(tmp_path / "calls"))
    assert [(call.moment, call.name) for call in calls] == [
        *[("begin", "pwrite64"), ("end", "pwrite64"), ("begin", "fdatasync"), ("begin", "sendto"), ("end", "sendto")],
        *[("end", "fdatasync"), ("begin", "fdatasync"), ("end", "fdatasync")],
    ]
    assert (calls[0].place, calls[0].data, calls[0].number) == ("/a/b.db-wal", b'a\0\xff"\n', 32)
    assert [call.has_worked for call in calls if call.moment == "end"] == [True, True, True, False]


def test_a_power_failure_leaves_what_was_written_before_the_last_sync_began(tmp_path: Path) -> None:
    path = tmp_path / "b.db"
    path.write_bytes(b"0123")
    (tmp_path / "calls").write_text(
        f'7 pwrite64(9<{path}>, "ab", 2, 3) = 2\n'
        f"7 fdatasync(9<{path}> <unfinished ...>\n"
        f'8 pwrite64(9<{path}>, "XY", 2, 0) = 2\n'
        f"7 <... fdatasync resumed>) = 0\n"
    )
    disk, after = Disk([path]), tmp_path / "after"
    after.mkdir()
    for call in read_calls(tmp_path / "calls"):
        disk.follow(call)
    disk.save(after)
    assert (after / "b.db").read_bytes() == b"012ab"


def test_a_stream_that_keeps_the_rules_is_read() -> None:
    stream = read_stream(b": ping\n\n" + chunk(0, "a") + chunk(0, "b") + chunk(0, reason="stop") + DONE, num_choices=1)
    assert (stream.texts[0], stream.error) == ("ab", None)
    assert read_stream(chunk(0, "a") + ERROR + DONE, num_choices=2).error == {"code": "timeout"}


@pytest.mark.parametrize(
    "raw",
    [
        chunk(0, "a") + DONE,
        chunk(0, reason="stop"),
        chunk(0, reason="stop") + DONE + DONE,
        chunk(0, reason="stop") + chunk(0, reason="stop") + DONE,
        chunk(0, reason="stop") + chunk(0, "b") + DONE,
        chunk(0, reason="stop") + ERROR + DONE,
        ERROR + chunk(0, "a") + DONE,
        ERROR + ERROR + DONE,
        DONE + chunk(0, reason="stop"),
        chunk(0, reason="stop") + chunk(1, "b") + DONE,
        chunk(0, reason="stop") + DONE[:-1],
    ],
    ids=["no ending", "no [DONE]", "[DONE] twice", "two endings", "a piece after its ending", "ending and error"]
    + ["a piece after the error", "two errors", "[DONE] first", "a choice too many", "half a frame"],
)
def test_a_stream_that_breaks_a_rule_is_told(raw: bytes) -> None:
    with pytest.raises(AssertionError):
        read_stream(raw, num_choices=1)
