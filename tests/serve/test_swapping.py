import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from banyan.serve.model_choice import ModelChoice
from banyan.serve.opening import app_with_models
from banyan.serve.settings import ServerSettings
from banyan.serve.swapping import swap_models
from banyan.store.sql_store import open_store
from banyan.store.types import RequestState
from banyan.testing.engine_threads import engine_threads
from banyan.testing.model_directories import save_tiny_model
from banyan.testing.serving import ServerThread

BODY: dict[str, Any] = {"prompt": "The banyan", "max_tokens": 12, "temperature": 1.0}


def ask(url: str, model: str) -> int:
    stream = {"stream": True} if threading.get_ident() % 2 else {}
    body = {**BODY, **stream, "model": model}
    return httpx.post(f"{url}/v1/completions", json=body, timeout=30, verify=False).status_code


def test_models_are_swapped_under_load_without_a_failed_request_and_the_old_ones_are_forgotten(tmp_path: Path) -> None:
    one, other, beside = (save_tiny_model(tmp_path / f"m{seed}", seed=seed) for seed in range(3))
    choice = ModelChoice(directory=one, name="main", others={"beside": beside}, device="cpu", num_slots=4)
    changed = ModelChoice(directory=other, name="main", others={"beside": beside}, device="cpu", num_slots=4)
    missing = ModelChoice(directory=tmp_path / "none", device="cpu")
    before = engine_threads()
    with open_store(f"sqlite:///{tmp_path / 'a.db'}") as store:
        with app_with_models(choice, store, settings=ServerSettings(needs_key=False)) as app:
            server = ServerThread(app)
            try:
                with ThreadPoolExecutor(4) as pool:
                    asked = [pool.submit(ask, server.url, ("main", "beside")[n % 2]) for n in range(24)]
                    assert asked[0].result() == 200
                    for wanted, is_swapped in ((missing, False), (changed, True)):
                        swapping = asyncio.run_coroutine_threadsafe(swap_models(app, wanted), server._loop)
                        assert swapping.result(60) is is_swapped
                    asked += [pool.submit(ask, server.url, "main") for _ in range(4)]
                    assert {future.result() for future in asked} == {200}
                listed = httpx.get(f"{server.url}/v1/models").json()["data"]
                assert [model["id"] for model in listed] == ["main", "beside"]
                deadline = time.monotonic() + 30
                while len(engine_threads() - before) > 2:
                    assert time.monotonic() < deadline, "the models that were swapped out still have threads"
                    time.sleep(0.05)
            finally:
                server.stop()
        stored = store.queries.newest()
    assert len(stored) == 28 and {own.state for own in stored} == {RequestState.COMPLETED}
    assert len({own.request.model_sha256 for own in stored}) == 3
    assert engine_threads() <= before
