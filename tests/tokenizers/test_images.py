from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from banyan.core.errors import CheckpointError, FileError, InputError
from banyan.model.vision.autoencoder import Autoencoder, AutoencoderConfig
from banyan.tokenizers.images import IMAGE_TOKENIZERS, ImageTokenizer, load_image_tokenizer, save_image_tokenizer
from banyan.tokenizers.learned_pictures import LearnedPictures
from banyan.tokenizers.palette import Palette
from banyan.tokenizers.patch_codebook import PatchCodebook
from banyan.tokenizers.pictures import image_from_array

NOISE = [image_from_array(array) for array in np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3), dtype=np.uint8)]


def _tokenizer() -> ImageTokenizer:
    return PatchCodebook.train(NOISE, patch_size=2, num_codes=6, seed=0)


def _learned(quantizer: Literal["fsq", "vq"]) -> ImageTokenizer:
    torch.manual_seed(0)
    sizes = AutoencoderConfig(image_size=4, channels=3, quantizer=quantizer, levels=(3, 2), num_codes=6, widths=(8,))
    return LearnedPictures(Autoencoder(sizes))


@pytest.mark.parametrize(
    "tokenizer",
    [_tokenizer(), Palette(image_size=4, channels=3, num_codes=27), _learned("fsq"), _learned("vq")],
    ids=["patch codebook", "palette", "fsq", "vq"],
)
def test_a_saved_image_tokenizer_loads_the_same(tmp_path: Path, tokenizer: ImageTokenizer) -> None:
    save_image_tokenizer(tokenizer, tmp_path / "image_tokenizer.safetensors")
    loaded = load_image_tokenizer(tmp_path)
    for name in ("kind", "image_size", "channels", "grid_size", "num_codes", "settings"):
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
    palette = Palette(image_size=4, channels=1, num_codes=4)
    assert list(IMAGE_TOKENIZERS) == [made.kind for made in (_tokenizer(), _learned("fsq"), palette)]


def test_a_missing_corrupt_or_foreign_file_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "image_tokenizer.safetensors"
    with pytest.raises(FileError, match="not found"):
        load_image_tokenizer(path)
    save_image_tokenizer(_tokenizer(), path)
    whole = path.read_bytes()
    learned = _learned("fsq")
    with pytest.raises(CheckpointError, match="does not fit its settings"):
        LearnedPictures.from_tensors(learned.to_tensors(), image_size=4, channels=1, settings=learned.settings)
    with pytest.raises(InputError, match="6 image codes|codes from 0 to 5"):
        learned.decode([[6] * 4])
    for broken in (whole[:-4], whole.replace(b"patch_codebook", b"patch_codebuck"), b""):
        path.write_bytes(broken)
        with pytest.raises(CheckpointError, match=str(path)):
            load_image_tokenizer(path)
