"""A Ray cluster of this machine alone, with Banyan on it, for the time of a block."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

APP_FOLDER = Path(__file__).resolve().parents[2] / "deploy/serving"


@contextmanager
def local_cluster(database: str) -> Iterator[str]:
    """Start Ray with one core and no dashboard, and give the address of its proxy."""
    os.environ.update(BANYAN_DATABASE=database, RAY_USAGE_STATS_ENABLED="0")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(APP_FOLDER), os.environ.get("PYTHONPATH", ""))))
    sys.path.insert(0, str(APP_FOLDER))
    import ray  # here, after what its processes inherit has been said
    from ray import serve

    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True) as place:
        ray.init(
            num_cpus=1,
            include_dashboard=False,
            object_store_memory=100 << 20,
            log_to_driver=False,
            logging_level="ERROR",
            _temp_dir=place,  # its sockets need a short path
        )
        try:
            port = _free_port()
            serve.start(http_options={"host": "127.0.0.1", "port": port})
            yield f"http://127.0.0.1:{port}"
        finally:
            serve.shutdown()
            ray.shutdown()


def deploy(model: Path, *, replicas: int) -> None:
    """Run Banyan with a model, or give the replicas that run another one; return when they are ready."""
    from ray import serve
    from ray_app import application

    words = {"model": str(model), "name": "tiny", "replicas": replicas, "cpus": 0.1, "device": "cpu", "slots": 4}
    serve.run(application(words), name="banyan", route_prefix="/")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
