"""A real server process: it starts, says its key once, stops when told, and refuses what would not be safe."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from banyan.core.errors import BusyError, CheckpointError, ConfigError, FileError, SafetyError
from banyan.serve.listening import TlsFiles, check_exposure, is_loopback, listen, url_of
from banyan.serve.local_model import name_of
from banyan.serve.server import serve
from banyan.store.sql_store import open_store
from banyan.store.types import RequestState

PROGRAM = """
import json, sys
from pathlib import Path
from banyan.serve.server import serve

def tell(started):
    print(json.dumps([started.url, started.model_name, started.first_key]), flush=True)

serve(Path(sys.argv[1]), port=0, database=sys.argv[2], no_auth=len(sys.argv) > 3, on_start=tell)
"""


@contextmanager
def server_process(model: Path, database: str, *options: str) -> Iterator[tuple[subprocess.Popen[str], list[Any]]]:
    command = [sys.executable, "-c", PROGRAM, str(model), database, *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()


def test_a_server_process_answers_drains_on_sigterm_and_ends_with_zero(model_directory: Path, tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'banyan.db'}"
    with server_process(model_directory, database) as (process, (url, name, key)):
        assert name == "tiny"
        headers = {"Authorization": f"Bearer {key}"}
        body = {"model": name, "prompt": "The banyan", "max_tokens": 150, "temperature": 1, "stream": True}
        with (
            httpx.Client(base_url=url, headers=headers, timeout=30) as client,
            client.stream("POST", "/v1/completions", json=body) as response,
        ):
            lines = response.iter_lines()
            next(lines)
            process.send_signal(signal.SIGTERM)
            rest = list(lines)
        assert rest[-2:] == ["data: [DONE]", ""] or rest[-1] == "data: [DONE]"
        assert process.wait(timeout=20) == 0
    with open_store(database) as store:
        exchange = store.queries.show(response.headers["X-Request-Id"])
        assert exchange.state is RequestState.COMPLETED
        assert store.verify_key(key) is not None


def test_a_killed_server_leaves_its_request_interrupted(model_directory: Path, tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'banyan.db'}"
    with server_process(model_directory, database, "--no-auth") as (process, (url, name, key)):
        assert key is None
        body = {"model": name, "prompt": "The banyan", "max_tokens": 180, "temperature": 1, "stream": True}
        with pytest.raises(httpx.TransportError), httpx.stream("POST", f"{url}/v1/completions", json=body) as response:
            process.kill()
            response.read()
    with open_store(database) as store:
        exchange = store.queries.show(response.headers["X-Request-Id"])
    assert exchange.state is RequestState.INTERRUPTED
    assert exchange.request.body == body


def test_a_port_in_use_is_named_before_any_model_is_loaded(tmp_path: Path) -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BusyError, match=rf"port {port} on 127.0.0.1 is in use") as caught:
            serve(tmp_path / "no-model", port=port, database=f"sqlite:///{tmp_path / 'x.db'}")
    assert caught.value.exit_code == 8
    assert not (tmp_path / "x.db").exists()


def test_a_model_that_cannot_be_loaded_frees_the_port(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError):
        serve(tmp_path / "empty", port=0, database="sqlite://")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_an_address_that_strangers_reach_needs_keys_and_tls(host: str) -> None:
    with pytest.raises(SafetyError) as caught:
        check_exposure(host, no_auth=True, has_tls=True, insecure=True)
    assert caught.value.exit_code == 12
    with pytest.raises(SafetyError):
        check_exposure(host, no_auth=False, has_tls=False, insecure=False)
    check_exposure(host, no_auth=False, has_tls=True, insecure=False)
    check_exposure(host, no_auth=False, has_tls=False, insecure=True)


def test_loopback_is_told_from_the_rest() -> None:
    assert all(is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "127.9.9.9"))
    assert not any(is_loopback(host) for host in ("0.0.0.0", "192.0.2.1"))


def test_an_address_that_is_not_ours_is_refused_in_one_line() -> None:
    for host, port in (("192.0.2.1", 0), ("no.such.host.invalid", 0), ("127.0.0.1", 70_000)):
        with pytest.raises(ConfigError):
            listen(host, port).close()


def test_tls_files_that_cannot_be_used_are_named_before_anything_starts(tmp_path: Path) -> None:
    tls = TlsFiles(certificate=tmp_path / "cert.pem", key=tmp_path / "key.pem")
    with pytest.raises(FileError, match="cert.pem not found"):
        serve(tmp_path / "no-model", port=0, database="sqlite://", tls=tls)
    tls.certificate.write_text("no certificate")
    tls.key.write_text("no key")
    with pytest.raises(ConfigError, match="cannot be used for TLS"):
        tls.check()


def test_the_url_is_what_a_person_types() -> None:
    with listen("127.0.0.1", 0) as listener:
        assert url_of(listener, has_tls=False) == f"http://127.0.0.1:{listener.getsockname()[1]}"
        assert url_of(listener, has_tls=True).startswith("https://")


@pytest.mark.parametrize(
    ("directory", "name"),
    [
        ("runs/demo/best", "demo"),
        ("runs/demo/last", "demo"),
        ("runs/demo/checkpoints/step-00000120", "demo"),
        ("models/my model", "my-model"),
        ("榕", "banyan"),
    ],
)
def test_a_model_is_called_by_its_folder_or_its_run(directory: str, name: str) -> None:
    assert name_of(Path(directory)) == name
