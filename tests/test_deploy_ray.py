"""The app for Ray Serve: one replica without Ray as it behaves in it, and what Ray is told of it where Ray is."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from pydantic import ValidationError
from sqlalchemy.engine import make_url
from uvicorn.config import Config
from uvicorn.lifespan.on import LifespanOn

from banyan.core.errors import CheckpointError, ConfigError, FileError
from banyan.store.keys import create_key
from banyan.store.sql_store import open_store
from banyan.testing.model_directories import save_tiny_model

APP = Path(__file__).parent.parent / "deploy/serving/ray_app.py"


@pytest.fixture(scope="module")
def ray_app() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ray_app", APP)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["ray_app"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def database(ray_app: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database in a file, which a single replica can do with."""
    address = f"sqlite:///{tmp_path / 'banyan.db'}"
    monkeypatch.setattr(ray_app, "shared_database", lambda: address)
    return address


@pytest.mark.parametrize("address", ["", "sqlite:///runs/banyan.db"])
def test_replicas_do_not_share_a_file(ray_app: ModuleType, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("BANYAN_DATABASE", address)
    with pytest.raises(ConfigError, match="share one PostgreSQL"):
        ray_app.shared_database()
    given = "postgresql+psycopg://banyan@/test"
    monkeypatch.setenv("BANYAN_DATABASE", given)
    monkeypatch.setattr(ray_app, "parse_address", make_url)  # the driver may be missing here
    assert ray_app.shared_database() == given


def test_a_replica_answers_with_the_model_it_is_told_and_keeps_it_where_the_next_cannot_be_opened(
    ray_app: ModuleType, database: str, tmp_path: Path
) -> None:
    models = [save_tiny_model(tmp_path / f"model-{seed}", seed=seed) for seed in (0, 1)]
    with open_store(database) as store:
        key = create_key(store.database, name="asker").secret

    async def life() -> list[Any]:
        replica = ray_app.Replica(device="cpu", slots=2)
        app = replica.__serve_build_asgi_app__()
        lifespan = LifespanOn(Config(app, lifespan="on", log_config=None))  # as Ray does it
        await lifespan.startup()
        assert not lifespan.should_exit
        transport = httpx.ASGITransport(app)
        headers = {"Authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://banyan", headers=headers) as client:
            seen = []
            for place in (models[0], models[1], tmp_path / "nothing"):
                await replica.reconfigure({"model": str(place), "name": "tree"})
                await replica.check_health()
                seen.append((await client.get("/v1/models")).json()["data"][0])
            body = {"model": "tree", "prompt": "a", "max_tokens": 2}
            seen.append((await client.post("/v1/completions", json=body)).status_code)
            seen.append((await client.get("/v1/models", headers={"Authorization": "Bearer no"})).status_code)
        await lifespan.shutdown()
        replica.__del__()
        return seen

    first, second, third, answered, refused = asyncio.run(life())
    assert first["id"] == second["id"] == "tree"
    assert first["sha256"] != second["sha256"] == third["sha256"]
    assert (answered, refused) == (200, 401)


def test_a_replica_without_a_first_model_does_not_begin(ray_app: ModuleType, database: str, tmp_path: Path) -> None:
    open_store(database).close()
    replica = ray_app.Replica(device="cpu", slots=2)
    with pytest.raises((FileError, CheckpointError)):
        asyncio.run(replica.reconfigure({"model": str(tmp_path / "nothing"), "name": None}))
    replica.__del__()


def test_a_word_that_is_none_of_ours_is_refused(ray_app: ModuleType) -> None:
    with pytest.raises(ValidationError, match="replica\\b"):
        ray_app.application({"model": "/models/best", "replica": "3"})


def test_ray_is_told_what_was_asked_for(ray_app: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray.serve", reason="Ray is not installed: pip install 'banyan-gpt[ray]'")
    monkeypatch.setattr(ray_app, "shared_database", lambda: "postgresql://banyan@/test")
    app = ray_app.application({"model": "/models/best", "replicas": "3", "cpus": "0.5"})
    deployment = app._bound_deployment
    assert (deployment.num_replicas, deployment.ray_actor_options["num_cpus"]) == (3, 0.5)
    assert deployment.user_config == {"model": "/models/best", "name": None}
