"""A real server process: it starts, says its key once, stops when told, and refuses what would not be safe."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest

from banyan.core.errors import BusyError, CheckpointError, FileError
from banyan.serve.listening import TlsFiles, listen
from banyan.serve.model_choice import ModelChoice
from banyan.serve.server import serve
from banyan.store.sql_store import open_store
from banyan.store.types import RequestState
from banyan.testing.serving import RunningServer

FORMS = ("float", "base64")
PROGRAM = """
import json, sys
from pathlib import Path
from banyan.serve.model_choice import ModelChoice
from banyan.serve.server import serve

def tell(started):
    print(json.dumps([started.url, started.model_name, started.first_key]), flush=True)

serve(ModelChoice(directory=Path(sys.argv[1])), port=0, database=sys.argv[2], no_auth=len(sys.argv) > 3, on_start=tell)
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


def test_the_official_client_gets_vectors_from_a_server_process(model_directory: Path, tmp_path: Path) -> None:
    async def run(url: str, key: str, form: str) -> Any:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key) as client:
            return await client.embeddings.create(model="tiny", input="独木成林", encoding_format=form)  # type: ignore

    database = f"sqlite:///{tmp_path / 'banyan.db'}"
    with server_process(model_directory, database) as (_, (url, _, key)):
        with openai.OpenAI(base_url=f"{url}/v1", api_key=key) as client:
            answers = [client.embeddings.create(model="tiny", input="独木成林", encoding_format=form) for form in FORMS]
        answers += [asyncio.run(run(url, key, form)) for form in FORMS]
    plain, packed, *others = [answer.data[0].embedding for answer in answers]
    assert others == [plain, packed]
    numbers = np.frombuffer(base64.b64decode(packed), "<f4")
    np.testing.assert_allclose(numbers, plain, atol=1e-6)
    with open_store(database) as store:
        stored = store.queries.newest()
    artifacts = [exchange.answer.outputs[0].artifacts[0] for exchange in stored if exchange.answer]
    assert len(artifacts) == 4 and all(np.array_equal(np.frombuffer(a.data, "<f4"), numbers) for a in artifacts)


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
            serve(ModelChoice(directory=tmp_path / "no-model"), port=port, database=f"sqlite:///{tmp_path / 'x.db'}")
    assert caught.value.exit_code == 8
    assert not (tmp_path / "x.db").exists()


def test_a_model_that_cannot_be_loaded_frees_the_port(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError):
        serve(ModelChoice(directory=tmp_path / "empty"), port=0, database="sqlite://")


def test_a_missing_certificate_is_named_before_anything_starts(tmp_path: Path) -> None:
    tls = TlsFiles(certificate=tmp_path / "cert.pem", key=tmp_path / "key.pem")
    with pytest.raises(FileError, match="cert.pem not found"):
        serve(ModelChoice(directory=tmp_path / "no-model"), port=0, database="sqlite://", tls=tls)


def test_what_goes_wrong_in_the_event_loop_is_one_line_without_content(
    server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    loop, is_told = server.thread._loop, threading.Event()
    mishap = {"message": "socket.accept() out of system resource", "exception": OSError("a user's\nwords")}

    def tell() -> None:
        for _ in range(1_000):
            loop.call_exception_handler(mishap)
        is_told.set()

    loop.call_soon_threadsafe(tell)
    assert is_told.wait(30)
    lines = [record.getMessage() for record in caplog.records if "event_loop" in record.getMessage()]
    assert set(lines) == {'event_loop reason="socket.accept() out of system resource" error=OSError'}
    assert len(lines) < 1_000  # one for each second that it goes on
