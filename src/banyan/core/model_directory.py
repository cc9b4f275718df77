"""The manifest that makes a directory of weights trustworthy: size and SHA-256 of every file in it."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from banyan.core.errors import CheckpointError, FileError
from banyan.core.files import atomic_directory, atomic_write_json, read_json, sha256_of

MANIFEST = "manifest.json"
BANYAN_FILE = "banyan.json"
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
EXTRAS_FILE = "extras.safetensors"
TOKENIZER_FILE = "tokenizer.json"
IMAGE_TOKENIZER_FILE = "image_tokenizer.safetensors"


_VERSION = 1
_ENTRY = {"bytes", "sha256"}
_LINKS = ("best", "last", "finished")  # a run's names for what came out of it


def name_of(directory: Path) -> str:
    """Return what a model is called: its folder's name, or its run's (runs/demo/best → demo)."""
    path = directory.absolute()
    if path.name in _LINKS:
        path = path.parent
    elif path.parent.name == "checkpoints":
        path = path.parent.parent
    return re.sub(r"[^A-Za-z0-9._-]+", "-", path.name).strip("-")[:64] or "banyan"


def write_manifest(directory: Path) -> None:
    """Record size and SHA-256 of every file below a directory; written last, so that its presence means complete."""
    files = {
        path.relative_to(directory).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }
    atomic_write_json(directory / MANIFEST, {"version": _VERSION, "files": files})


@contextmanager
def new_model_directory(path: Path) -> Iterator[Path]:
    """Give a temporary directory that becomes `path`, with its manifest, when the block ends without an error."""
    with atomic_directory(path) as temporary:
        yield temporary
        write_manifest(temporary)


def verify_manifest(directory: Path) -> dict[str, Any]:
    """Check every file of a model directory against its manifest and return the manifest's files.

    Only plain files count: a link, a pipe or a device inside is refused, and nothing outside is ever opened.
    Raises: FileError if there is no such directory; CheckpointError naming the first file that does not fit.
    """
    if not directory.is_dir():
        raise FileError(f"{directory} is not a model directory.", hint="give a folder that holds manifest.json")
    try:
        present = _plain_files(directory)
        if MANIFEST not in present:
            raise CheckpointError(f"{directory} has no {MANIFEST}: it is not a complete model directory.")
        manifest = _read_manifest(directory)
        for name, entry in manifest.items():
            _check_size(directory, name, entry, present)
        if extra := sorted(set(present) - set(manifest) - {MANIFEST}):
            raise CheckpointError(
                f"{directory / extra[0]} is not in the manifest: it came after the directory was saved."
            )
        for name, entry in manifest.items():
            _check_content(directory / name, entry)
    except OSError as error:
        if isinstance(error, FileError):
            raise
        raise CheckpointError(f"{directory} cannot be read: {error.strerror or error}.") from error
    return manifest


def _plain_files(directory: Path) -> dict[str, int]:
    """Return the size of every file below a directory, by its name relative to it."""
    sizes: dict[str, int] = {}
    for path in sorted(directory.rglob("*")):
        status = path.lstat()
        if stat.S_ISREG(status.st_mode):
            sizes[path.relative_to(directory).as_posix()] = status.st_size
        elif not stat.S_ISDIR(status.st_mode):
            kind = "a link, which leaves the directory" if path.is_symlink() else "a pipe or a device"
            raise CheckpointError(f"{path} is {kind}; a model directory holds plain files only.")
    return sizes


def _read_manifest(directory: Path) -> dict[str, dict[str, Any]]:
    try:
        manifest = read_json(directory / MANIFEST)
        # As strict as can be, so that no bit of it can change unnoticed.
        if not isinstance(manifest, dict) or manifest.keys() != {"version", "files"} or manifest["version"] != _VERSION:
            raise TypeError(f"it is not a manifest of version {_VERSION}")
        files = manifest["files"]
        if not isinstance(files, dict) or not all(isinstance(e, dict) and e.keys() == _ENTRY for e in files.values()):
            raise TypeError("files must map each name to bytes and sha256")
    except (FileError, TypeError) as error:
        raise CheckpointError(f"{directory / MANIFEST} cannot be read: {error}.") from error
    return files


def _check_size(directory: Path, name: str, entry: dict[str, Any], present: Mapping[str, int]) -> None:
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise CheckpointError(f"{directory / MANIFEST} names {name!r}, which leaves the directory.")
    if name not in present:
        raise CheckpointError(f"{str(directory / name)!r} is missing (the manifest names it).")
    if present[name] != entry.get("bytes"):
        raise CheckpointError(
            f"{directory / name} has {present[name]} bytes, the manifest says {entry.get('bytes')!r} "
            "(file is truncated)."
        )


def _check_content(path: Path, entry: dict[str, Any]) -> None:
    if sha256_of(path) != entry.get("sha256"):
        raise CheckpointError(
            f"{path}: sha256 mismatch (file is corrupt).", hint="use an earlier checkpoint or copy it again"
        )
