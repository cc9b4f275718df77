import json
import os
from pathlib import Path

import pytest

from banyan.core.errors import CheckpointError, FileError
from banyan.core.model_directory import MANIFEST, new_model_directory, verify_manifest


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    with new_model_directory(tmp_path / "model") as temporary:
        (temporary / "model.safetensors").write_bytes(bytes(range(256)) * 8)
        (temporary / "config.json").write_text("{}")
    return tmp_path / "model"


def test_a_saved_directory_verifies(saved: Path) -> None:
    assert sorted(verify_manifest(saved)) == ["config.json", "model.safetensors"]


def flip_bit(saved: Path) -> None:
    data = bytearray((saved / "model.safetensors").read_bytes())
    data[1000] ^= 1
    (saved / "model.safetensors").write_bytes(data)


def rename_outside(saved: Path) -> None:
    manifest = json.loads((saved / MANIFEST).read_text())
    manifest["files"]["../secret"] = manifest["files"].pop("config.json")
    (saved / MANIFEST).write_text(json.dumps(manifest))


def link_elsewhere(saved: Path) -> None:
    (saved / "config.json").unlink()
    (saved / "config.json").symlink_to("/etc/hostname")


@pytest.mark.parametrize(
    ("harm", "match"),
    [
        (flip_bit, "corrupt"),
        (lambda saved: (saved / "model.safetensors").write_bytes(b"short"), "truncated"),
        (lambda saved: (saved / "config.json").unlink(), "missing"),
        (lambda saved: (saved / MANIFEST).unlink(), "no manifest.json"),
        (lambda saved: (saved / MANIFEST).write_text("[]"), "cannot be read"),
        (lambda saved: (saved / "more.bin").write_bytes(b"x"), "not in the manifest"),
        (rename_outside, "leaves the directory"),
        (link_elsewhere, "leaves the directory"),
    ],
)
def test_any_harm_to_a_directory_is_named(saved: Path, harm: object, match: str) -> None:
    harm(saved)  # type: ignore[operator]
    with pytest.raises(CheckpointError, match=match):
        verify_manifest(saved)


def test_a_path_that_is_no_directory_is_a_file_error(tmp_path: Path) -> None:
    with pytest.raises(FileError):
        verify_manifest(tmp_path / "none")


@pytest.mark.parametrize(
    "manifest",
    ['{"files": ' + "[" * 100_000, '{"files": {"a": {"bytes": ' + "9" * 5000 + "}}}", '{"files": {"a": 1}}', "\udce9"],
    ids=["100,000 brackets", "5,000 digits", "no entry", "not UTF-8"],
)
def test_a_manifest_made_to_break_its_reader_is_refused(saved: Path, manifest: str) -> None:
    (saved / MANIFEST).write_text(manifest, errors="surrogateescape")
    with pytest.raises(CheckpointError, match="cannot be read"):
        verify_manifest(saved)


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000, "\ud800", "/etc/hostname", "a/../../b", "."])
def test_a_manifest_cannot_name_what_is_not_in_the_directory(saved: Path, name: str) -> None:
    manifest = json.loads((saved / MANIFEST).read_text())
    manifest["files"][name] = {"bytes": 2, "sha256": "0"}
    (saved / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="is missing|leaves the directory"):
        verify_manifest(saved)


def test_a_pipe_among_the_files_is_refused_and_not_waited_for(saved: Path) -> None:
    os.mkfifo(saved / "more")
    with pytest.raises(CheckpointError, match="is a pipe or a device"):
        verify_manifest(saved)


def test_a_manifest_of_10_gigabytes_is_not_read(saved: Path) -> None:
    with (saved / MANIFEST).open("wb") as file:
        file.truncate(10 << 30)
    with pytest.raises(CheckpointError, match=r"10\.7 GB"):
        verify_manifest(saved)


def test_a_bit_of_a_manifest_cannot_change_unnoticed(saved: Path) -> None:
    whole = (saved / MANIFEST).read_bytes()
    for place, byte in enumerate(whole):
        (saved / MANIFEST).write_bytes(whole[:place] + bytes([byte ^ 1 << place % 8]) + whole[place + 1 :])
        with pytest.raises(CheckpointError):
            verify_manifest(saved)
