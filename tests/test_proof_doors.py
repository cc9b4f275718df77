"""The proofs of what strangers may send, write and offer are the same every time, and notice what must not be."""

from __future__ import annotations

import colorsys
import json
import marshal
import subprocess
import sys
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from typing import Any

import pytest

from banyan.testing.tasks import VOCABULARY
from proofs.serving.goals import canaries, hostile, special_tokens
from proofs.serving.goals.mutations import mutated, valid_requests
from proofs.serving.goals.wire import Answer, complaint_about

ROOT = Path(__file__).parents[1]
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


HARMLESS = """
import collections, ctypes, dataclasses, inspect, os, pickle, socket, sys, typing
from pathlib import Path
from proofs.serving.goals.watch import watch
here = Path(sys.argv[1])
seen = here / "seen"
watch(seen)
seen.touch()
import sched, tomllib
collections.namedtuple("Point", "x y")
typing.get_type_hints(dataclasses.make_dataclass("Place", [("at", "int")]))
def place(at: "int"): pass
inspect.get_annotations(place, eval_str=True)
ctypes.CDLL(None)
open(os.devnull, "w").close()
"""
HARMFUL = {
    "exec('1')": "exec",
    "import foreign": "exec",
    "import liar": "marshal.loads",
    "typing.cast.__code__.replace(co_name='other')": "code.__new__",
    "pickle.loads(b'cos\\nsystem\\n.')": "pickle.find_class",
    "ctypes.CDLL(str(here / 'library.so'))": "ctypes.dlopen",
    "open(here / 'new', 'w')": "open",
    "os.open(here / 'new', os.O_WRONLY)": "open",
    "(here / 'new').rename(here / 'other')": "os.rename",
    "os.system('true')": "os.system",
    "socket.socket().connect(('127.0.0.1', 9))": "socket.connect",
}


def test_what_an_import_does_is_no_harm_and_the_same_from_elsewhere_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "foreign.py").write_text("1")
    code = compile("1", colorsys.__file__, "exec")  # bytes that claim to be of the standard library
    (tmp_path / "liar.pyc").write_bytes(MAGIC_NUMBER + bytes(12) + marshal.dumps(code))
    tries = "".join(f"try:\n    {harm}\nexcept OSError:\n    pass\n" for harm in HARMFUL)
    script = f"{HARMLESS}sys.path.insert(0, str(here))\n{tries}"
    subprocess.run([sys.executable, "-c", script, tmp_path], cwd=ROOT, check=True)
    noticed = [line.split()[0] for line in (tmp_path / "seen").read_text().splitlines()]
    assert noticed == list(HARMFUL.values())


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
