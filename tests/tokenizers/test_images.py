from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from banyan.core.errors import CheckpointError, FileError
from banyan.tokenizers.images import IMAGE_TOKENIZERS, ImageTokenizer, load_image_tokenizer, save_image_tokenizer
from banyan.tokenizers.patch_codebook import PatchCodebook
from banyan.tokenizers.pictures import image_from_array

NOISE = [image_from_array(array) for array in np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3), dtype=np.uint8)]


def _tokenizer() -> ImageTokenizer:
    return PatchCodebook.train(NOISE, patch_size=2, num_codes=6, seed=0)


def test_a_saved_image_tokenizer_loads_the_same(tmp_path: Path) -> None:
    tokenizer = _tokenizer()
    save_image_tokenizer(tokenizer, tmp_path / "image_tokenizer.safetensors")
    loaded = load_image_tokenizer(tmp_path / "image_tokenizer.safetensors")
    for name in ("kind", "image_size", "channels", "grid_size", "num_codes"):
        assert getattr(loaded, name) == getattr(tokenizer, name)
    codes = tokenizer.encode(NOISE)
    assert loaded.encode(NOISE) == codes
    assert loaded.decode(codes) == tokenizer.decode(codes)


def test_the_same_tokenizer_is_saved_as_the_same_bytes(tmp_path: Path) -> None:
    path, tokenizer = tmp_path / "image_tokenizer.safetensors", _tokenizer()
    saved = set()
    for _ in range(20):
        save_image_tokenizer(tokenizer, path)
        saved.add(path.read_bytes())
    assert len(saved) == 1


def test_every_registered_kind_is_the_kind_its_tokenizers_carry() -> None:
    assert list(IMAGE_TOKENIZERS) == [_tokenizer().kind]


def test_a_missing_corrupt_or_foreign_file_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "image_tokenizer.safetensors"
    with pytest.raises(FileError, match="not found"):
        load_image_tokenizer(path)
    save_image_tokenizer(_tokenizer(), path)
    whole = path.read_bytes()
    for broken in (whole[:-4], whole.replace(b"patch_codebook", b"patch_codebuck"), b""):
        path.write_bytes(broken)
        with pytest.raises(CheckpointError, match=str(path)):
            load_image_tokenizer(path)
