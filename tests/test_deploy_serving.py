"""The files that put a server on a machine: systemd and the program itself know what stands in them."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer.main

from banyan.cli.serve import app
from banyan.serve.auth import is_public
from banyan.serve.listening import check_exposure
from banyan.serve.settings import ServerSettings

ROOT = Path(__file__).parent.parent
UNIT = ROOT / "deploy/serving/banyan.service"
DOCKERFILE = ROOT / "deploy/serving/Dockerfile"
INSTRUCTIONS = {  # of Docker's reference
    "FROM", "WORKDIR", "COPY", "RUN", "USER", "VOLUME", "EXPOSE", "ENV", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT",
}  # fmt: skip


def settings_of_serve(words: list[str]) -> dict[str, Any]:
    """What `banyan serve` understands of a command line."""
    program, verb, *arguments = words
    assert (Path(program).name, verb) == ("banyan", "serve")
    return typer.main.get_command(app).make_context("banyan serve", arguments).params


def service() -> configparser.SectionProxy:
    parser = configparser.RawConfigParser(strict=False, comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(UNIT, encoding="utf-8")
    return parser["Service"]


def steps() -> list[tuple[str, str]]:
    text = re.sub(r"\\\n\s*", "", DOCKERFILE.read_text("utf-8"))
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in lines]


def step(name: str) -> str:
    return [rest for instruction, rest in steps() if instruction == name][-1]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    program = shutil.which("true") or "/bin/true"
    own = tmp_path / UNIT.name
    own.write_text(UNIT.read_text("utf-8").replace("/opt/banyan/bin/banyan", program))
    done = subprocess.run(["systemd-analyze", "verify", own], capture_output=True, text=True, check=False)
    about_us = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert not about_us, done.stderr


def test_the_service_starts_a_server_that_strangers_cannot_reach() -> None:
    asked = settings_of_serve(shlex.split(service()["ExecStart"]))
    check_exposure(asked["host"], no_auth=asked["no_auth"], has_tls=False, insecure=asked["insecure"])
    assert (asked["host"], asked["no_auth"], asked["insecure"]) == ("127.0.0.1", False, False)
    assert service()["DynamicUser"] == "yes"
    assert service()["StateDirectory"] == "banyan"


def test_the_service_waits_for_answers_and_does_not_repeat_what_cannot_work() -> None:
    assert int(service()["TimeoutStopSec"]) > ServerSettings().drain_seconds + 5
    assert {"2", "3", "4", "8", "10", "12"} == set(service()["RestartPreventExitStatus"].split())


def test_docker_knows_every_step_and_copies_only_what_is_there() -> None:
    assert {instruction for instruction, _ in steps()} <= INSTRUCTIONS
    for instruction, rest in steps():
        words = rest.split()
        if instruction == "COPY" and not words[0].startswith("--from"):
            assert all((ROOT / source).exists() for source in words[:-1]), rest


def test_the_container_serves_with_keys_and_not_as_root() -> None:
    names = [instruction for instruction, _ in steps()]
    assert names.index("USER") < names.index("ENTRYPOINT") and step("USER") not in ("root", "0")
    asked = settings_of_serve(json.loads(step("ENTRYPOINT")))
    check_exposure(asked["host"], no_auth=asked["no_auth"], has_tls=False, insecure=asked["insecure"])
    assert asked["no_auth"] is False and str(asked["port"]) == step("EXPOSE")
    [probe] = re.findall(r"http://127\.0\.0\.1:8000(/\w+)", step("HEALTHCHECK"))
    assert is_public("GET", probe)
