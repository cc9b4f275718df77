"""`banyan serve`: what is refused before it listens, and what it says when it does."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from banyan.cli.serve import announce
from banyan.serve.server import Started

Run = Callable[..., Any]


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        (["none"], 3, "none is not a model directory"),
        (["MODEL", "--host", "0.0.0.0"], 12, "refusing to listen on 0.0.0.0 without TLS"),
        (["MODEL", "--host", "0.0.0.0", "--insecure", "--no-auth"], 12, "0.0.0.0"),
        (["MODEL", "--ssl-certfile", "a.pem"], 2, "--ssl-certfile and --ssl-keyfile belong together"),
        (["MODEL", "--port", "99999"], 2, "--port"),
        (["MODEL", "--device", "tpu9"], 2, "device='tpu9'"),
        (["MODEL", "--slots", "0"], 2, "--slots"),
        (["MODEL", "--prefix-cache-mib", "-1"], 2, "--prefix-cache-mib"),
        (["MODEL", "--max-held-tokens", "0"], 2, "--max-held-tokens"),
        (["MODEL", "--adapter", "reviews"], 2, "--adapter reviews is not of the form name=DIR"),
        (["MODEL", "--adapter", "a=none", "--adapter", "a=none"], 2, "--adapter a is given twice"),
        (["MODEL", "--adapter", "a b=none"], 2, "'a b' cannot name an adapter"),
        (["MODEL", "--adapter", "a=none"], 3, "none is not an adapter's folder"),
        (["MODEL", "--adapter", "a=MODEL"], 3, "is not an adapter's folder"),
        (["MODEL", "--base", "none"], 2, "is a whole model"),
    ],
)
def test_what_cannot_be_served_is_one_line(banyan: Run, model: Path, words: list[str], code: int, problem: str) -> None:
    ran = banyan("serve", *(str(model) if word == "MODEL" else word for word in words))
    assert (ran.code, ran.out) == (code, "")
    assert problem in ran.error


def test_a_port_that_is_taken_is_one_line(banyan: Run, model: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ran = banyan("serve", model, "--port", port)
    assert ran.code == 8
    assert f"port {port} on 127.0.0.1 is in use" in ran.error


def test_the_key_is_told_once_and_only_if_there_is_a_new_one(capsys: pytest.CaptureFixture[str]) -> None:
    announce(Started(url="http://127.0.0.1:8000", model_name="demo", first_key="bk-secret"))
    first = capsys.readouterr().out
    announce(Started(url="http://127.0.0.1:8000", model_name="demo", first_key=None))
    second = capsys.readouterr().out
    assert "serving demo at http://127.0.0.1:8000" in first and "key: bk-secret" in first
    assert "key:" not in second
