import json
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
