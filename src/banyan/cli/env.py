"""`banyan env`: versions and hardware, for a bug report."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import psutil
import torch
import typer

from banyan import __version__
from banyan.cli.output import JsonOption, QuietOption, emit, print_table
from banyan.core.paths import data_directory, default_database_url, runs_directory

app = typer.Typer(add_completion=False)

_PACKAGES = ("torch", "tokenizers", "safetensors", "numpy", "pydantic", "sqlalchemy", "alembic", "fastapi", "uvicorn")


@app.command()
def env(as_json: JsonOption = False, quiet: QuietOption = False) -> None:
    """Show versions, hardware and folders; paste it into a bug report.

    Example: banyan env --json
    """
    facts = gather_facts()
    emit(facts, as_json=as_json, quiet=quiet, text=lambda: print_table(("what", "value"), list(facts.items())))


def gather_facts() -> dict[str, Any]:
    """Return what a bug report needs: no user names, no paths outside the working folder's settings."""
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none"
    return {
        "banyan": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor_cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "torch_threads": torch.get_num_threads(),
        "gpu": gpu,
        "runs": str(runs_directory()),
        "data": str(data_directory() or "BANYAN_DATA is not set"),
        "database": "set by BANYAN_DATABASE" if "BANYAN_DATABASE" in os.environ else default_database_url(),
        **{name: _version_of(name) for name in _PACKAGES},
    }


def _version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
