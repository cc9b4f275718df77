"""Where an adapter's model lies: an adapter is a few small matrices, of no use without the model it was made for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from banyan.core.errors import CheckpointError, FileError
from banyan.core.files import read_json, sha256_of
from banyan.core.model_directory import BANYAN_FILE, MANIFEST
from banyan.model.peft_config import ADAPTER_CONFIG_FILE
from banyan.runtime.description import AdapterOrigin, read_description

_UNNAMED = "default"
_GIVE_BASE = "name the folder that its model lies in now: --base DIR"


def is_adapter(directory: Path) -> bool:
    """Whether a folder holds an adapter, and no model of its own."""
    return (directory / ADAPTER_CONFIG_FILE).is_file()


def adapter_origin(name: str, *, directory: Path, base: Path, base_sha256: str) -> AdapterOrigin:
    """Return what an adapter in a folder remembers of its model: where it lies, and what it is."""
    return AdapterOrigin(
        name=name,
        base=str(base.resolve()),
        base_from_here=os.path.relpath(base.resolve(), directory.resolve()),
        base_sha256=base_sha256,
    )


def find_base(directory: Path, *, given: Path | None = None) -> Path:
    """Return the folder of the model that an adapter was made for: the given one, or where it lay then.

    A folder that moved together with its adapter is found as well.
    Raises: FileError if it is not there; CheckpointError if what lies there is another model.
    """
    origin = _origin_of(directory)
    if given is not None:
        base = given
    elif origin is None:
        base = _foreign_base(directory)
    else:
        places = (directory.resolve() / origin.base_from_here, Path(origin.base))
        base = next((place for place in places if place.is_dir()), Path(origin.base))
    if not base.is_dir():
        raise FileError(f"{directory} is an adapter, and its model {base} is not there.", hint=_GIVE_BASE)
    check_base(directory, origin, sha256=_manifest_sha256(base), place=base)
    return Path(os.path.normpath(base))


def check_base(directory: Path, origin: AdapterOrigin | None, *, sha256: str, place: Path) -> None:
    """Make sure that a model is the one an adapter was made for, down to the last bit.

    Raises: CheckpointError naming both.
    """
    if origin is not None and origin.base_sha256 != sha256:
        raise CheckpointError(
            f"{place} is not the model that the adapter {directory} was made for: its manifest has sha256 "
            f"{sha256[:16]}…, the adapter names {origin.base_sha256[:16]}….",
            hint=f"its model lay in {origin.base} then; name the folder it lies in now",
        )


def name_of_adapter(directory: Path) -> str:
    """Return what an adapter was called when it was made."""
    origin = _origin_of(directory)
    return _UNNAMED if origin is None else origin.name


def _origin_of(directory: Path) -> AdapterOrigin | None:
    return read_description(directory).adapter if (directory / BANYAN_FILE).is_file() else None


def _foreign_base(directory: Path) -> Path:
    """Return the model that PEFT's own description names, if it is a folder here."""
    stored: Any = read_json(directory / ADAPTER_CONFIG_FILE)
    named = stored.get("base_model_name_or_path") if isinstance(stored, dict) else None
    if not isinstance(named, str) or not named or "\0" in named or not Path(named).is_dir():
        raise FileError(
            f"{directory} is an adapter for {str(named)[:200]!r}, which is no folder here.", hint=_GIVE_BASE
        )
    return Path(named)


def _manifest_sha256(base: Path) -> str:
    try:
        return sha256_of(base / MANIFEST)
    except OSError as error:
        raise CheckpointError(f"{base} has no {MANIFEST}: it is not a complete model directory.") from error
