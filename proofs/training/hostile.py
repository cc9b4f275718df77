"""A corpus of model directories that somebody made to do harm, each with a manifest that fits it; by number."""

from __future__ import annotations

import json
import os
import random
import shutil
import struct
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from banyan.core.model_directory import MANIFEST

# Of these the ones that a good directory has are damaged: a run's checkpoint has others than a model to be served.
_TENSOR_FILES = ("model.safetensors", "optimizer.safetensors", "extras.safetensors", "image_tokenizer.safetensors")
_JSON_FILES = ("model.json", "banyan.json", "state.json", "tokenizer.json", "config.json", "tokenizer_config.json")
_FILES = (*_TENSOR_FILES, *_JSON_FILES)
_COMMAND = b"touch /tmp/banyan-was-here"
_PICKLES = (
    b"cos\nsystem\n(S'" + _COMMAND + b"'\ntR.",
    b"\x80\x02cos\nsystem\nX" + struct.pack("<I", len(_COMMAND)) + _COMMAND + b"\x85R.",
    b"\x80\x04\x95"
    + struct.pack("<Q", 30)
    + b"\x8c\x02os\x8c\x06system\x93\x8c"
    + bytes([len(_COMMAND)])
    + _COMMAND
    + b"\x85R.",
    b"PK\x03\x04" + bytes(60),
)
_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 2**31, 2**63, 10**30, 1e308, float("nan"), float("inf"), "", "../../etc/passwd", "/etc/passwd",
    "\x00", "\ud800", "x" * 100_000, [], {}, [[]] * 1000, {"a": {"b": {}}}, [1, "a", None],
)  # fmt: skip
_OFFSETS = ([0, 2**60], [-8, 8], [8, 0], [0, 1], [2**63, 2**63 + 8], [0.5, 8], "all", [], [0, 8, 16], [0, 0])
_SHAPES = ([2**40], [2**32, 2**32], [-1, -1], [0], "big", [], [1] * 1000, [[1]], [1.5], [2**63])
_DTYPES = ("F64", "I8", "BOOL", "U64", "F8_E4M3", "F128", "", 7, None, "O")
Harm = Callable[[Path, random.Random], str]


def hostile_directory(good: Path, directory: Path, number: int) -> str:
    """Make the directory of a number from a good one, and return in a few words what is wrong with it."""
    chance = random.Random(number)
    shutil.copytree(good, directory)
    harm = _HARMS[number % len(_HARMS)]
    what = harm(directory, chance)
    if harm not in _WITH_OWN_MANIFEST:
        _write_manifest(directory)
    return f"{harm.__name__.strip('_')} {what}"


def _any_of(directory: Path, names: Sequence[str], chance: random.Random, *more: str) -> str:
    """Draw one of the files that a directory has, or one of more names."""
    return chance.choice((*(name for name in names if (directory / name).exists()), *more))


def _write_manifest(directory: Path, **extra: Any) -> None:
    files = {
        path.relative_to(directory).as_posix(): {
            "bytes": path.stat().st_size,
            # A sparse file is taken at its word: reading 10 GB for each would prove nothing more.
            "sha256": sha256(path.read_bytes()).hexdigest() if path.stat().st_size < 1 << 26 else "0" * 64,
        }
        for path in sorted(directory.rglob("*"))
        if path.is_file() and not path.is_symlink() and path.name != MANIFEST
    }
    (directory / MANIFEST).write_text(json.dumps({"version": 1, "files": files | extra}, indent=2))


# ------------------------------------------------------------------------------- tensors


def _pickle(directory: Path, chance: random.Random) -> str:
    name = _any_of(directory, _FILES, chance)
    content = chance.choice(_PICKLES)
    header = struct.pack("<Q", len(content)) if chance.random() < 0.3 else b""  # dressed up as a header
    (directory / name).write_bytes(header + content + bytes(chance.randrange(64)))
    return name


def _header_length(directory: Path, chance: random.Random) -> str:
    path = directory / _any_of(directory, _TENSOR_FILES, chance)
    data = path.read_bytes()
    length = chance.choice(
        (2**60, 2**63, 2**64 - 1, 0, 1, len(data), len(data) - 8, 100_000_001, chance.getrandbits(64))
    )
    path.write_bytes(struct.pack("<Q", length) + data[8:])
    return f"{path.name} {length}"


def _header(directory: Path, chance: random.Random) -> str:
    path = directory / _any_of(directory, _TENSOR_FILES, chance)
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header, payload = json.loads(data[8 : 8 + length]), data[8 + length :]
    names = [name for name in header if name != "__metadata__"]
    entry, other = header[chance.choice(names)], header[chance.choice(names)]
    kind = chance.randrange(7)
    if kind == 0:
        entry["data_offsets"] = chance.choice(_OFFSETS)
    elif kind == 1:
        entry["shape"] = chance.choice(_SHAPES)
    elif kind == 2:
        entry["dtype"] = chance.choice(_DTYPES)
    elif kind == 3:
        entry["data_offsets"] = other["data_offsets"] if other is not entry else [0, 2**61]
    elif kind == 4:
        header[chance.choice(("../x", "", "\x00", "a" * 10_000, "__class__"))] = entry
    elif kind == 5:
        header["__metadata__"] = chance.choice(_VALUES)
    else:
        del header[chance.choice(names)]
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + payload)
    return f"{path.name} kind {kind}"


def _deep_header(directory: Path, chance: random.Random) -> str:
    path = directory / _any_of(directory, _TENSOR_FILES, chance)
    text = b'{"a":' * chance.choice((100, 10_000, 1_000_000)) + b"1"
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    return f"{path.name} {len(text)} bytes"


# ------------------------------------------------------------------------------- JSON


def _json_value(directory: Path, chance: random.Random) -> str:
    path = directory / _any_of(directory, _JSON_FILES, chance)
    content = json.loads(path.read_text())
    place, key = _random_place(content, chance)
    value = chance.choice(_VALUES)
    place[key] = value
    path.write_text(json.dumps(content), encoding="utf-8")
    return f"{path.name} {key} {value!r:.30}"


def _random_place(content: Any, chance: random.Random) -> tuple[Any, Any]:
    """Return a container inside a JSON value, and one of its keys."""
    place = content
    while True:
        key = chance.choice(list(place) if isinstance(place, dict) else range(len(place)))
        inner = place[key]
        if not isinstance(inner, dict | list) or not inner or chance.random() < 0.3:
            return place, key
        place = inner


def _json_bomb(directory: Path, chance: random.Random) -> str:
    name = _any_of(directory, _JSON_FILES, chance, MANIFEST)
    bombs = (
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b"[" + b"[]," * 1_300_000 + b"[]]",
        b"9" * 100_000,
        b'{"version": ' + b"1" * 5000 + b"}",
        b"\xff\xfe" * 100,
        b"",
        b"null",
        b'"' + b"\\u0000" * 100_000 + b'"',
        b"{" + b",".join(b'"%d":0' % n for n in range(100_000)) + b"}",
    )
    (directory / name).write_bytes(chance.choice(bombs))
    if name != MANIFEST:
        _write_manifest(directory)
    return name


# ------------------------------------------------------------------------------- the directory itself


def _path_outside(directory: Path, chance: random.Random) -> str:
    name = chance.choice(
        ("/etc/passwd", "../outside", "a/../../outside", "/dev/zero", "a\x00b", "\ud800", "x" * 5000, ".")
    )
    entry = {"bytes": chance.choice((0, 2, -1, None, 2**70, "2", os.stat("/etc/passwd").st_size)), "sha256": "0" * 64}
    _write_manifest(directory, **{name: entry})
    return repr(name[:30])


def _manifest_value(directory: Path, chance: random.Random) -> str:
    _write_manifest(directory)
    path = directory / MANIFEST
    content = json.loads(path.read_text())
    place, key = _random_place(content, chance)
    place[key] = chance.choice(_VALUES)
    path.write_text(json.dumps(content), encoding="utf-8")
    return f"{key}"


def _link(directory: Path, chance: random.Random) -> str:
    name = _any_of(directory, _FILES, chance, MANIFEST, "more.json", "folder")
    target = chance.choice(("/etc/passwd", "/dev/zero", "/proc/self/mem", "..", name, "/nowhere"))
    path = directory / name
    path.unlink(missing_ok=True)
    if name != MANIFEST:
        _write_manifest(directory)
    path.symlink_to(target)
    return f"{name} to {target}"


def _pipe(directory: Path, chance: random.Random) -> str:
    name = _any_of(directory, _FILES, chance, MANIFEST, "more.json")
    path = directory / name
    path.unlink(missing_ok=True)
    if name != MANIFEST:
        _write_manifest(directory, **{name: {"bytes": 0, "sha256": sha256(b"").hexdigest()}})
    os.mkfifo(path)
    return name


def _sparse(directory: Path, chance: random.Random) -> str:
    name = _any_of(directory, _FILES, chance, MANIFEST, "more.bin")
    with (directory / name).open("r+b" if (directory / name).exists() else "wb") as file:
        file.truncate(10 << 30)
    if name != MANIFEST:
        _write_manifest_of_sparse(directory, name)
    return name


def _write_manifest_of_sparse(directory: Path, name: str) -> None:
    """Write a manifest in which the sparse file has its former size: reading it is what must not happen."""
    _write_manifest(directory)
    content = json.loads((directory / MANIFEST).read_text())
    content["files"][name]["bytes"] = 1000
    (directory / MANIFEST).write_text(json.dumps(content))


def _random_bytes(directory: Path, chance: random.Random) -> str:
    path = directory / _any_of(directory, _FILES, chance)
    data = bytearray(path.read_bytes())
    at = chance.randrange(min(len(data), 3000))  # where the structure is
    kind = chance.randrange(3)
    if kind == 0:
        data[at] ^= 1 << chance.randrange(8)
    elif kind == 1:
        data = data[:at]
    else:
        data[at:at] = chance.randbytes(chance.randrange(1, 40))
    path.write_bytes(data)
    return f"{path.name} kind {kind} at {at}"


_HARMS: tuple[Harm, ...] = (
    _pickle, _header_length, _header, _deep_header, _json_value, _json_bomb, _path_outside, _manifest_value, _link,
    _pipe, _sparse, _random_bytes, _header, _json_value, _random_bytes, _json_value,
)  # fmt: skip
_WITH_OWN_MANIFEST = {_json_bomb, _path_outside, _manifest_value, _link, _pipe, _sparse}
